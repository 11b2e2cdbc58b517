"""Words that a question is made with rather than about, in the languages the offline provider speaks. Data only.

Written as `words.py` sees them: lower case, no diacritics, Arabic letters folded. A word that manuals are about
("set", "run", "open") is not here, however common it is.
"""

from __future__ import annotations

import re

_ENGLISH = """
a about above after again all also am an and any anybody anyone anything are aren as ask at available be because been
before being best between both but by can cannot come could couldn describe did didn do does doesn doing don done each
either else enough ever every everything exactly explain few find first for from get gets getting give gives go goes
going good got had happen happened happening happens has hasn have haven having he hello help her here hey hi him his
how however i if in inside instead into is isn it its itself just kind know let like ll look make makes making many
may maybe me mean means meant might more most much must my need needed needs neither no nor not now of off often ok
okay on once one only onto or other our out over own per please possible put rather re really right same say says see
should shouldn show shows since so some somebody someone something still such sure take takes talk tell than thank
thanks that the their them then there these they thing things this those through to too under until up upon us use
used useful user uses using ve very via want wants was wasn way ways we well went were weren what whats when where
whether which while who whom whose why will with within without won work worked working works would wouldn yes yet you
your yours
"""

_GERMAN = """
aber alle alles als also am an auch auf aus bei beim bin bis bitte da damit dann das dass dein dem den denn der des dich
die dies diese diesem diesen dieser dieses dir doch du durch ein eine einem einen einer eines er erklare es etwas fur
gegen geht gibt hab habe haben hat hatte hallo hier ich ihr ihre im in ins ist ja jede jeder jedes kann kannst kein
keine konnen lasst machen macht man mehr mein mich mir mit muss mussen nach nicht nichts noch nur ob oder ohne sag sehr
sein seine sich sie sind so soll sollte uber um und uns unter vom von vor wann warum was weil welche welcher welches wem
wen wenn wer werden wie wieso wir wird wo wofur wurde zu zum zur zwischen
"""

_FRENCH = """
a ai alors as au aucun aussi autre aux avec avez avoir bonjour c ca car ce cela ces cet cette chaque comment d dans de
des dis doit donc dont du elle elles en encore entre es est et etes etre eu explique fait faire faut fois font ici il
ils j je l la le les leur lors lui m ma mais me mes mieux moi mon n ne ni nos notre nous on ont ou par parle parler pas
peu peut peux plus pour pourquoi puis qu quand que quel quelle quelles quels qui quoi s sa sans se ses si soit son sont
sous suis sur t ta te tes toi ton tous tout toute toutes tu un une veut veux vos votre vous y
"""

_SPANISH = """
a acerca al algo algun alguna algunos antes asi aun bien cada como con cual cuales cuando cuanto cuantos de debe debo
del desde dime donde dos e el ella ellos en entre era eres es esa ese eso esta estan estas este esto estos estoy explica
fue ha hace hacer hacia hago han hasta hay hola la las le les lo los mas me mi mis mucho muy nada ni no nos nosotros o
otra otro otros para pero poco por porque puede puedes puedo pues que quien quienes quiero se sea ser si sin sobre sol
somos son soy su sus tal tambien te tengo ti tiene tienen toda todas todo todos tu tus un una uno unos usted y ya yo
"""

_ARABIC = """
ا اذا اريد ال الا التي الذي الذين الي ام ان انا انت اننا انه انها او اي اين ايه ايضا بعد بعض بل بما به بها بين تم ثم
حتي حول حيث ذلك سوف علي عليه عليها عن عند عندما غير فقط فما فهل في فيه فيها قبل قد قل كان كانت كل كم كما كيف لا لدي لقد
لكن لم لماذا لن له لها لي ليس ما ماذا متي مثل مرحبا مع من منذ منه منها مني نحن نعم هذا هذه هل هم هنا هناك هو هي وما وهل
وهو وهي يتم يجب يكون يمكن يمكنك يمكنني يوجد توجد تكون اخبرني اشرح فضلك ارجو استطيع تستطيع
"""

# Longest first, since the first alternative that fits wins. Single characters only where they are hardly ever part of
# a word that a question is about: cutting at 有 or 在 would tear 有效 and 在线 apart.
_CHINESE = """
为什么 有什么 有哪些 有没有 能不能 可不可以 怎么办 怎么样 怎么做 是不是 什么时候 什么意思 什么是
多少 哪里 哪些 哪个 哪儿 如何 怎么 怎样 什么 是否 可以 能否 请问 应该 需要
我们 你们 他们 它们 这个 那个 这些 那些 一下 一个 告诉 介绍 关于 解释
说明 在哪里 在哪儿 在哪 谁是 如果 或者 以及 因为 所以 但是 然后 的 了 吗 呢 吧 啊 我 你 您 它 请 是 谁
"""

STOP_WORDS: dict[str, frozenset[str]] = {
    "en": frozenset(_ENGLISH.split()),
    "de": frozenset(_GERMAN.split()),
    "fr": frozenset(_FRENCH.split()),
    "es": frozenset(_SPANISH.split()),
    "ar": frozenset(_ARABIC.split()),
}
"""Words of scripts that write spaces between them, by language. Apart, since "car" and "font" mean much in English."""

STOP_PHRASES: re.Pattern[str] = re.compile("|".join(sorted(_CHINESE.split(), key=len, reverse=True)))
"""Where a run of Chinese characters is cut into what it asks for."""
