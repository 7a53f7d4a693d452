"""Keeps the phrases by which the rules know a kind of message, in ten languages.

Each line is a pattern of whole words, lower case: "no" is not found in "nothing". `^` stands for the beginning of a
sentence, `$` for its end. Chinese and Japanese do not part their words; there, a phrase is found wherever it stands.
What is missing here is left to the model; what is here must hardly ever mean anything else.
"""

from __future__ import annotations

import re
from functools import cache

from .payloads import Kind

_IT = r"(?:that|this|it|the answer|your answer|your code|the code|the result)"
_IS = r"(?:'s| is|(?<!it) was|s| looks| seems)"

REJECTED = (
    # English
    (
        r"^no,? (?:that|this|it|you|your)(?:'s|'re| is| are| was)? (?:wrong|not|incorrect|got|missed|"
        r"misunderstood|answer)"
    ),
    (
        rf"{_IT}{_IS} (?:just |still |completely |totally |simply |all |plain |also |definitely |so )?(?:wrong|"
        rf"incorrect|not (?:right|correct|true(?! that)|it|working|helpful|what)|false|useless|nonsense|rubbish|"
        rf"garbage|bad|terrible|broken|unhelpful|untrue)"
    ),
    rf"(?<!if ){_IT} (?:isn't|wasn't|ain't) (?:right|correct|true|it|working|helpful|what)",
    r"that'?s (?:not|hardly|nowhere near) (?:it|right|correct|true|what|helpful|how)",
    r"not what i (?:asked|meant|wanted|need|needed|was asking|requested|said)",
    r"^(?:totally |completely |still )?(?:wrong|incorrect|false|nonsense|rubbish)(?= ?[,.!;:–-]|$| (?:answer|again))",
    r"you(?:'re| are) (?:wrong|mistaken|not listening|making (?:that|this|things|it) up|hallucinating)",
    (
        r"you (?:misunderstood|misread|got (?:it|that|this|me) wrong|missed the point|ignored|"
        r"didn't (?:answer|read|listen|understand)|did not (?:answer|read|understand)|made (?:that|this|it) "
        r"up)"
    ),
    (
        rf"(?:^|{_IT} |still |this )(?:doesn't|does not|didn't|did not|still doesn't|won't) (?:work|help|"
        rf"compile|run|answer|make (?:any )?sense|solve)"
    ),
    r"i (?:don't|do not) (?:want|need) (?:this|that)",
    (
        r"(?:no such|there is no|there's no) (?:function|method|option|flag|parameter|file|city|book|person|"
        r"law) (?:called|named|like that|exists)"
    ),
    # German
    (
        r"(?:das|dies|es|die antwort|deine antwort|ihre antwort) (?:ist|war|stimmt) (?:(?:leider|einfach|"
        r"immer noch|völlig|komplett|ganz|so) )?(?:falsch|nicht (?:richtig|korrekt|das|hilfreich|wahr|"
        r"gemeint)|nicht$|unsinn|quatsch|unbrauchbar|nutzlos)"
    ),
    r"(?:das|so) (?:stimmt|geht|funktioniert|klappt|hilft)(?: mir| so| leider| immer noch| aber)* nicht",
    r"das (?:habe|hab|hatte) ich nicht (?:gemeint|gefragt|gesagt|gewollt|so gemeint)",
    (
        r"(?:du|sie) (?:hast|haben|liegst|liegen) (?:mich |das |die frage |hier )?(?:falsch|missverstanden|"
        r"nicht verstanden)"
    ),
    r"^(?:völlig |leider |immer noch )?falsch(?= ?[,.!;:–-]|$)",
    # French
    (
        r"(?:c'est|ce n'est|cela est|ta réponse est|votre réponse est|la réponse est) (?:toujours |"
        r"complètement |totalement )?(?:faux|incorrect|incorrecte|fausse|inutile|n'importe quoi|pas (?:ça|"
        r"cela|juste|vrai|correct|exact|bon|ce que))"
    ),
    r"(?:ça|cela) ne (?:marche|fonctionne|répond|m'aide|va)(?: toujours)? pas",
    r"(?:tu te trompes|vous vous trompez|tu n'as pas (?:compris|répondu)|vous n'avez pas (?:compris|répondu))",
    # Spanish
    (
        r"(?:eso|esto|la respuesta|tu respuesta|su respuesta) (?:no )?(?:es|está) (?:totalmente |"
        r"completamente )?(?:incorrecto|incorrecta|falso|falsa|mal|equivocado|equivocada|erróneo|"
        r"lo que (?:pedí|quería|pregunté))"
    ),
    r"(?:eso|esto|así) no (?:es (?:correcto|cierto|verdad|así|lo que)|funciona|sirve|me ayuda)",
    (
        r"(?:no es (?:lo que|eso lo que|correcto|cierto)|te equivocas|se equivoca|no (?:has|ha) entendido|"
        r"no me (?:has|ha) entendido)"
    ),
    # Italian
    (
        r"(?:questo|quello|la risposta|la tua risposta|è)(?: è)? (?:tutto |completamente |proprio )?"
        r"(?:sbagliato|sbagliata|errato|errata|falso|falsa|inutile)"
    ),
    r"non (?:è (?:giusto|corretto|vero|così|quello che)|funziona|hai capito|ha capito|mi serve)",
    r"(?:ti sbagli|si sbaglia)",
    # Portuguese
    (
        r"(?:isso|isto|a resposta|a tua resposta|a sua resposta|sua resposta) (?:não )?(?:está|é) "
        r"(?:totalmente |completamente )?(?:errado|errada|incorreto|incorreta|falso|falsa|certo|correto|"
        r"verdade|o que (?:eu )?(?:pedi|queria|perguntei))"
    ),
    r"(?:isso|isto) não (?:funciona|ajuda|está certo|está correto|é verdade|é o que)",
    r"(?:você está errado|você errou|estás errado|não (?:entendeu|percebeste|foi isso que))",
    # Dutch
    (
        r"(?:dat|dit|het|je antwoord|uw antwoord|het antwoord) (?:is|klopt|klopte|werkt)(?: nog steeds|"
        r" helaas| gewoon| helemaal)? (?:niet|fout|onjuist|verkeerd|onzin)"
    ),
    r"(?:niet wat ik (?:vroeg|bedoelde|wilde)|je hebt (?:het|me|mij) verkeerd begrepen|je zit fout)",
    # Russian
    (
        r"(?:это|ответ|твой ответ|ваш ответ)(?: всё ещё| все еще| совсем| полностью)? (?:неверно|неправильно|"
        r"неправда|неправильный|неверный|не (?:так|то|верно|правильно|работает|помогает|правда))"
    ),
    r"(?:ты|вы) (?:ошибаешься|ошибаетесь|ошибся|ошиблись|не понял|не поняли|неправильно понял|неправильно поняли)",
    r"^(?:неверно|неправильно)(?= ?[,.!;:–-]|$)",
)  # fmt: skip

OTHERWISE = (
    (
        r"(?:try|do|give me|show me|suggest|use|find|write|propose|pick) (?:me )?(?:something else|"
        r"something different|a different|another|an alternative|some other)(?: (?:approach|way|one|method|"
        r"solution|version|answer|idea|option|library|format|title|name))? ?(?:instead|please|$)"
    ),
    (
        r"(?:can|could|would|will) you (?:please )?(?:try|do|use|write|give|make|show|suggest|put|format|"
        r"find) [^.!?]{0,60}\b(?:instead|differently|another way|a different way|some other way|"
        r"something else)"
    ),
    (
        r"^(?:please,? |ok,? |no,? )?(?:do|try|write|say|solve|explain|phrase) (?:it|this|that) (?:differently|"
        r"another way|in another way|in a different way|some other way)"
    ),
    (
        r"i(?:'d| would) (?:rather|prefer|like) (?:have |see |get |use )?(?:a different|another|"
        r"something else|something different|an alternative)"
    ),
    r"^(?:please,? |ok,? |no,? )?(?:use|make it|do it|give me|write it|show me) [^.!?]{1,40} instead",
    (
        r"(?:mach es anders|versuch(?:e|'s)? (?:es |mal )?(?:anders|etwas anderes|"
        r"was anderes)|gib mir (?:etwas|was) anderes|(?:etwas|was) anderes,? bitte|geht das (?:auch )?anders)"
    ),
    (
        r"(?:essaie autre chose|essayez autre chose|fais-le autrement|faites-le autrement|propose autre chose|"
        r"autre chose,? s'il (?:te|vous) plaît|plutôt (?:en|avec|une|un) [^.!?]{1,30})"
    ),
    (
        r"(?:prueba (?:otra cosa|con otra cosa|de otra (?:forma|manera))|hazlo de otra (?:forma|manera)|"
        r"dame otra (?:opción|alternativa|versión)|(?:usa|hazlo|escríbelo|dámelo) [^.!?]{1,40} en (?:su|"
        r"vez de|lugar de)[^.!?]{0,20})"
    ),
    (
        r"(?:prova (?:qualcos'altro|in un altro modo|un altro approccio)|fallo in un altro modo|"
        r"dammi un'altra (?:opzione|versione|alternativa)|qualcos'altro,? per favore)"
    ),
    (
        r"(?:tenta (?:outra coisa|de outra forma|de outro jeito)|tente (?:outra coisa|de outra forma|"
        r"de outro jeito)|faz de outra forma|faça de outra forma|dê outra (?:opção|alternativa)|"
        r"me dê outra (?:opção|alternativa|versão))"
    ),
    (
        r"(?:probeer (?:iets anders|het anders|een andere (?:manier|aanpak))|doe het anders|geef (?:me|mij) "
        r"iets anders|iets anders,? (?:graag|alsjeblieft))"
    ),
    (
        r"(?:попробуй(?:те)? (?:по-другому|что-то другое|иначе|другой (?:способ|вариант|подход))|сделай(?:те)?"
        r" (?:по-другому|иначе)|предложи(?:те)? (?:другой вариант|что-нибудь другое|что-то другое)|дай(?:те)?"
        r" другой вариант)"
    ),
)  # fmt: skip

SAID_BEFORE = (
    r"(?:as|like) i (?:already |just )?(?:said|told you|asked|mentioned|wrote|explained)(?: before| above| already)?",
    r"i already (?:told you|(?:said|mentioned|explained|asked(?: you)?(?: for)?|wrote) (?:it|this|that))",
    r"i just (?:said|told you|asked you)",
    (
        r"i(?:'ve| have) (?:already )?(?:asked|told you|said)(?: you)?(?: for| about)? (?:this|that|"
        r"it)(?: already| before| twice| three times| several times)+"
    ),
    (
        r"(?:for the (?:second|third|last|hundredth|umpteenth) time|how many times (?:do|must) i|"
        r"once again,? i|i'll ask again|i am asking again|i'm asking again|let me ask again)"
    ),
    (
        r"(?:wie (?:ich )?(?:schon|bereits|eben) (?:gesagt|geschrieben|erwähnt)|wie gesagt|"
        r"das habe ich (?:schon|bereits|doch schon) (?:gesagt|gefragt|geschrieben)|ich habe (?:das )?(?:schon|"
        r"bereits) (?:gesagt|gefragt|geschrieben)|zum (?:zweiten|dritten|letzten) mal|noch einmal:)"
    ),
    (
        r"(?:comme je (?:l'ai|vous l'ai|te l'ai) (?:déjà )?dit|je l'ai déjà (?:dit|demandé)|j'ai déjà (?:dit|"
        r"demandé)|pour la (?:deuxième|troisième|dernière) fois)"
    ),
    (
        r"(?:como (?:ya )?(?:te |le )?(?:dije|he dicho|decía)|ya (?:te |le |lo )?(?:dije|pregunté|he dicho|"
        r"he preguntado)|por (?:segunda|tercera|última) vez)"
    ),
    (
        r"(?:come (?:ho|ti ho|le ho) già (?:detto|chiesto)|come dicevo|(?:l'ho|ho|te l'ho) già (?:detto|"
        r"chiesto)|per la (?:seconda|terza|ultima) volta)"
    ),
    (
        r"(?:como (?:eu )?(?:já )?(?:disse|falei)|(?:eu )?já (?:disse|perguntei|falei|pedi)(?: isso)?|"
        r"pela (?:segunda|terceira|última) vez)"
    ),
    (
        r"(?:zoals ik (?:al )?(?:zei|vroeg|schreef)|dat (?:zei|vroeg) ik al|ik (?:heb )?(?:dat|het|dit) "
        r"al (?:gezegd|gevraagd)|voor de (?:tweede|derde|laatste) keer)"
    ),
    (
        r"(?:как я (?:уже )?(?:говорил|говорила|сказал|сказала|писал|писала)|я (?:же )?уже (?:говорил|"
        r"говорила|сказал|сказала|спрашивал|спрашивала|писал|писала)|(?:второй|третий|последний) "
        r"раз (?:спрашиваю|прошу))"
    ),
)  # fmt: skip

OWN_MISTAKE = (
    (
        r"(?:sorry|oops|whoops|wait|ah|no|actually|ugh|correction|my bad)[,.:;!–-]* (?:sorry,? )?i (?:meant|"
        r"mean)(?! it\b)"
    ),
    r"^i meant(?! it\b)",
    r"^(?:(?:sorry|oops|ah|no|wait|actually)[,.!]? )?i was wrong(?= ?[,.!;:–-]|$)",
    r"(?:that was |that's |it's |it was |oops,? |sorry,? )?my (?:mistake|bad|error|fault|typo)(?= ?[,.!;:–-]|$)",
    (
        r"i (?:made a (?:mistake|typo|mix-up)|misspoke|mistyped|mis-typed|misremembered|misread (?:it|that|"
        r"my)|mixed (?:it|that|them|those|up)|got (?:it|that|them) mixed up|stand corrected|"
        r"gave you the wrong|wrote the wrong|pasted the wrong|forgot to (?:say|mention|add|include))"
    ),
    r"^(?:correction|scratch that|strike that|let me rephrase|let me correct (?:myself|that)|never ?mind,? i)",
    (
        r"(?:ich meinte|mein (?:fehler|irrtum)(?= ?[,.!;:–-]|$)|ich habe mich (?:vertan|verschrieben|vertippt|geirrt)|"
        r"da habe ich mich (?:vertan|verschrieben|vertippt|geirrt)|ich hab mich (?:vertan|verschrieben|"
        r"vertippt|geirrt)|ich lag falsch)"
    ),
    (
        r"(?:je voulais dire|mon erreur|je me suis trompé|je me suis trompée|c'est ma faute|au temps pour moi|"
        r"autant pour moi)"
    ),
    (
        r"(?:quería decir|quise decir|mi error|me equivoqué|me he equivocado|fue (?:mi culpa|error mío)|"
        r"culpa mía|perdón,? es )"
    ),
    (
        r"(?:volevo dire|intendevo dire|mio errore|errore mio|mi sono sbagliato|mi sono sbagliata|"
        r"ho sbagliato|colpa mia)"
    ),
    (
        r"(?:eu quis dizer|eu queria dizer|quis dizer|queria dizer|erro meu|me enganei|enganei-me|eu errei|"
        r"culpa minha|foi mal,?)"
    ),
    r"(?:ik bedoelde|mijn fout|foutje van mij|ik (?:heb me|had me) vergist|ik vergiste me|ik zat fout)",
    (
        r"(?:я имел в виду|я имела в виду|моя ошибка|я ошибся|я ошиблась|я опечатался|я опечаталась|"
        r"я перепутал|я перепутала|оговорился|опечатка)"
    ),
)  # fmt: skip

ACCEPTED = (
    (
        r"^(?:(?:ok|okay|yes|yep|cool|oh|ah|hey|wow|nice|no)[,.! ]+)?(?:thanks|thank you|thx|ty|cheers|"
        r"much appreciated|perfect|great|awesome|excellent|brilliant|wonderful|exactly|lovely|amazing|"
        r"fantastic|nice|good job|well done)(?:[,.! ]+(?:so much|thanks|thank you|a lot|very much|again|you|that's "
        r"(?:perfect|great|it|all|what i (?:needed|wanted))|that (?:works|helps|helped|worked)|"
        r"it (?:works|worked|helps)|works|perfect|great|this is (?:great|perfect)|"
        r"for (?:that|this|the help|your help|everything)|answer|help|job|explanation))*[.! ]*$"
    ),
    (
        r"^(?:ok|okay|yes|yep)?[,.! ]*(?:that|this|it) (?:works|worked|helps|helped|did it|solved it|"
        r"makes sense)(?: now| great| perfectly)?(?:[,.! ]+(?:thanks|thank you|cheers))?[.! ]*$"
    ),
    (
        r"^(?:(?:ja|ok|super|ah)[,.! ]+)?(?:danke|vielen dank|danke (?:dir|schön|sehr)|besten dank|perfekt|"
        r"super|genau|prima|toll|klasse|passt)(?:[,.! ]+(?:danke|dir|sehr|vielen dank|das (?:hilft|passt|"
        r"war's)|perfekt|super))*[.! ]*$"
    ),
    (
        r"^(?:(?:oui|ok|ah|super)[,.! ]+)?(?:merci|merci beaucoup|parfait|super|génial|exactement|"
        r"c'est parfait|très bien)(?:[,.! ]+(?:merci|beaucoup|bien|c'est parfait))*[.! ]*$"
    ),
    (
        r"^(?:(?:sí|si|ok|vale)[,.! ]+)?(?:gracias|muchas gracias|perfecto|genial|excelente|exacto|"
        r"estupendo)(?:[,.! ]+(?:gracias|muchas gracias|perfecto|genial))*[.! ]*$"
    ),
    (
        r"^(?:(?:sì|si|ok)[,.! ]+)?(?:grazie|grazie mille|perfetto|ottimo|esatto|"
        r"benissimo)(?:[,.! ]+(?:grazie|mille|perfetto))*[.! ]*$"
    ),
    (
        r"^(?:(?:sim|ok)[,.! ]+)?(?:obrigado|obrigada|muito obrigado|muito obrigada|perfeito|ótimo|excelente|"
        r"exato)(?:[,.! ]+(?:obrigado|obrigada|perfeito))*[.! ]*$"
    ),
    (
        r"^(?:(?:ja|ok)[,.! ]+)?(?:bedankt|dank je|dank u|dankjewel|hartelijk dank|perfect|prima|geweldig|"
        r"precies)(?:[,.! ]+(?:bedankt|dank je|perfect))*[.! ]*$"
    ),
    (
        r"^(?:(?:да|ок|отлично)[,.! ]+)?(?:спасибо|большое спасибо|спасибо большое|отлично|супер|точно|класс|"
        r"идеально)(?:[,.! ]+(?:спасибо|большое))*[.! ]*$"
    ),
    r"^(?:谢谢|多谢|太好了|完美|非常感谢|ありがとう|ありがとうございます|完璧です|助かりました)[你您了!。. ]*$",
)  # fmt: skip

UNPARTED: dict[Kind, tuple[str, ...]] = {
    "explicit_rejection": (
        r"^不对", r"^不是这", r"(?:这|你的回答|答案|你)(?:是|说得|说的|完全)*(?:错的|错了|不对|不正确)",
        r"不是我(?:要的|想要的|问的)", r"答非所问", r"(?:これ|それ|答え|回答)(?:は|が)(?:違い|違う|間違|正しくな)",
        r"^違います",
        r"(?:聞いた|頼んだ|求めた)(?:の|こと)(?:は|では|じゃ)(?:違|ない|あり)",
    ),
    "alternative_request": (
        r"换(?:一个|一种|个|种)(?:方法|方式|方案|版本|思路|说法)", r"用(?:别的|另一种|其他)(?:方法|方式)",
        r"(?:別|ほか|他)の(?:方法|やり方|案|アプローチ|例)(?:で|を|に)(?:お願い|教えて|して|試して|変え)",
    ),
    "repetition": (
        r"我(?:已经|刚才|刚刚)(?:说过|问过|说了|问了|告诉)", r"我再(?:问|说)一(?:遍|次)",
        r"(?:さっき|先ほど|すでに|もう)(?:も)?(?:言い|言った|聞き|聞いた|質問し)", r"何度も(?:言|聞)",
    ),
    "self_correction": (
        r"(?:抱歉|对不起|不好意思)?[,、]?我(?:说错|写错|打错|搞错|弄错|记错)了", r"我的意思是",
        r"(?:すみません|ごめん)?[、,]?(?:私の|自分の)(?:間違い|ミス)", r"(?:言い|書き|打ち)間違え",
    ),
}  # fmt: skip


@cache
def patterns() -> tuple[tuple[Kind, re.Pattern[str]], ...]:
    """Returns one pattern for each kind, made once."""
    parted: tuple[tuple[Kind, tuple[str, ...]], ...] = (
        ("explicit_rejection", REJECTED), ("alternative_request", OTHERWISE), ("repetition", SAID_BEFORE),
        ("self_correction", OWN_MISTAKE), ("neutral", ACCEPTED),
    )  # fmt: skip
    return tuple((kind, _compiled(phrases, UNPARTED.get(kind, ()))) for kind, phrases in parted)


def _compiled(words: tuple[str, ...], unparted: tuple[str, ...]) -> re.Pattern[str]:
    whole = rf"(?<!\w)(?:{'|'.join(words)})(?!\w)"
    return re.compile("|".join([whole, *unparted]))
