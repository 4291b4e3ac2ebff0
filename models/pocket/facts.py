"""Facts worth remembering, the questions that ask for them, and requests beyond the model."""

from phrases import P, BEYOND
from sampling import dress, expand, fill, skeleton

RELATIONS = "sister brother mother father wife husband son daughter friend boss neighbour neighbor cousin aunt uncle grandma grandmother grandfather dog cat doctor dentist landlord roommate teacher colleague partner girlfriend boyfriend niece nephew mom dad horse parrot plumber lawyer accountant coach".split()
ATTRIBUTES = "name birthday address age email phone number favourite colour|favorite color|favourite food|hobby|car|job|phone number|email address|shoe size|last name|first name|nickname|office|room number|username|favorite drink|favourite book|hometown|birth year|favourite song|favorite movie|passport number|middle name".replace(" phone number favourite colour", "|phone|number|favourite colour").replace("name birthday address age email", "name|birthday|address|age|email").split("|")
OWN = "name|dog's name|cat's name|birthday|address|phone number|favourite colour|favorite color|favorite food|favourite number|shoe size|email|age|hobby|job|car|password hint|bike lock code|locker number|passport number|room number|office|username|hometown|employee number|blood type|bank|wifi password|wedding anniversary|seat|flight number|train|hotel|gym|project name|customer number|lucky number|landlord|boss|doctor|dentist|best friend|licence plate|library card number|desk|team|nickname|favourite band|favorite book|flight|coffee order|gate number|booking reference|school|insurance number|height|weight|mother tongue".split("|")
THINGS = "wifi password|wi-fi password|door code|gate code|alarm code|meeting room|project deadline|deadline|server address|server port|backup server|router password|safe combination|parking spot|locker code|guest password|garage code|invoice number|order number|tracking number|account number|release date|budget|ticket number|printer code|voicemail pin|flight number|hotel room|next meeting|database name|code word|conference room|train platform|team lunch|rent|spare key|landlord's number|office address|bus line|recipe temperature|exam date|serial number|delivery date|project manager|version number|main branch|entry code|mailbox code|kitchen colour|contract number|warehouse code|access code|heating setting".split("|")
KEYS = "price port name owner deadline budget total version author colour color size host user title date status city country address phone email weight height length width speed temperature limit timeout language licence team manager location code password key level count rate score amount quantity room due start end capacity priority category engine model year month color theme font mode path region zone currency balance discount tax shipping customer supplier client project task server database branch release build captain ship planet animal flavour ingredient topping distance duration interval threshold voltage pressure material shape brand vendor contact".split()
KEY_ENDS = "name number date code size limit count price rate level time port address colour total id".split()
PLACES = "in the drawer|under the mat|on the shelf|in the garage|behind the door|in the blue box|at the office|in the kitchen|on level {n}|in row {w}|in the {w} box|under the {w}|next to the {w}|behind the {w}|in {N}'s room|at {N}'s place|on {w} street|in the {w} cupboard|on the {w} shelf|at {w} station".split("|")
OBJECTS = "spare key|keys|passport|car|bike|umbrella|charger|wallet|first aid kit|toolbox|tent|camera|backup disk|ladder|receipt|suitcase|torch|headphones|winter coat|manual|contract|remote|screwdriver|coffee|printer paper|cat food|old laptop|medicine|drill|spare tyre|sewing kit".split("|")
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()


def person_value(rng, attribute):
    if "name" in attribute or attribute in ("landlord", "boss", "doctor", "dentist", "best friend", "landlord's number"):
        return rng.name() if rng.chance(0.85) else f"{rng.name()} {rng.name()}"
    if "birthday" in attribute or "date" in attribute or "anniversary" in attribute:
        return when(rng)
    if any(w in attribute for w in ("number", "code", "password", "port", "pin", "combination", "plate", "reference")):
        return rng.code()
    return rng.value()


def when(rng):
    kind = rng.randint(0, 4)
    if kind == 0:
        return f"{rng.randint(1, 31)} {rng.pick(MONTHS)}"
    if kind == 1:
        return f"{rng.pick(MONTHS)} {rng.randint(1, 31)}"
    if kind == 2:
        return rng.pick(DAYS)
    if kind == 3:
        return f"{rng.pick(DAYS)} at {rng.randint(1, 23)}{rng.pick((':00', ':30', ':15', ':45', ''))}"
    return f"{rng.randint(2024, 2031)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"


def place(rng):
    return fill(rng.pick(PLACES), {"n": rng.integer(1), "w": rng.word(), "N": rng.name()})


def fact(rng):
    """(fact, question, query): what a person tells, a question that it answers, and the words to look up.

    The question is a template key and its slots.
    """
    kind = rng.random()
    if kind < 0.24:
        who, what = rng.pick(RELATIONS), rng.pick(ATTRIBUTES)
        key = f"{who}'s {what}"
        verb = "is" if rng.chance(0.95) else "are"
        return f"my {key} {verb} {person_value(rng, what)}", ("what_my", key), key
    if kind < 0.36:
        key = rng.pick(OWN)
        return f"my {key} is {person_value(rng, key)}", ("what_my", key), key
    if kind < 0.52:
        key = rng.pick(THINGS) if rng.chance(0.6) else f"{rng.word()} {rng.pick(KEY_ENDS + ['password', 'room', 'server', 'deadline', 'meeting', 'budget', 'key', 'pin'])}"
        return f"the {key} is {person_value(rng, key)}", ("what_the", key), key
    if kind < 0.60:
        key = rng.pick(OBJECTS)
        if rng.chance(0.3):
            key = f"{rng.word()} {key}" if rng.chance(0.5) else rng.word()
        return f"{rng.pick(('the', 'the', 'my'))} {key} {'is' if key not in ('keys', 'headphones') else 'are'} {place(rng)}", ("where", key), key
    if kind < 0.70:
        name, word = rng.name(), rng.words(1, 2)
        verb, key = rng.pick((("likes", "like"), ("loves", "love"), ("hates", "hate"), ("prefers", "prefer"), ("is allergic to", "allergic"), ("works at", "work"), ("lives in", "live"), ("drinks", "drink"), ("plays", "play"), ("collects", "collect"), ("speaks", "speak"), ("owns", "own"), ("studies", "study"), ("drives", "drive")))
        return f"{name} {verb} {word}", ("name_" + key, name), name
    if kind < 0.79:
        name = rng.name()
        what = rng.pick(("birthday", "phone number", "email", "address", "desk", "favourite colour", "room", "dog", "office", "favorite food", "extension", "password", "wife", "car", "team", "badge number", "shift"))
        key = f"{name}'s {what}"
        return f"{key} is {person_value(rng, what)}", ("what_name", key), key
    if kind < 0.88:
        event = rng.pick(("meeting", "party", "concert", "exam", "flight", "dinner", "interview", "wedding", "deadline", "appointment", "lesson", "trip", "workshop", "call", "match", "review", "delivery", "train", "demo", "class"))
        other = rng.name() if rng.chance(0.6) else rng.word()
        key = f"{event} with {other}" if rng.chance(0.5) else f"{other} {event}"
        return f"the {key} is {rng.pick(('on', 'at', 'on')) if rng.chance(0.8) else ''} {when(rng)}".replace("  ", " "), ("when", key), key
    if kind < 0.94:
        key = rng.pick(("I parked|parked|park|the car", "I left my bag|bag|leave|my bag", "I put the keys|keys|put|the keys", "I hid the present|present|hide|the present", "I stored the boxes|boxes|store|the boxes", "I keep the documents|documents|keep|the documents", "I left my umbrella|umbrella|leave|my umbrella")).split("|")
        text = f"{key[0]} {place(rng)}"
        return text, ("where_did", f"{key[2]} {key[3]}"), key[3].split()[-1]
    name = rng.word()
    verb, key = rng.pick((("runs on port", "port"), ("costs", "cost"), ("is owned by", "owner"), ("belongs to", "belong"), ("opens at", "open"), ("closes at", "close"), ("weighs", "weigh"), ("expires on", "expire"), ("starts at", "start")))
    value = {"port": rng.integer(4), "owner": rng.name(), "belong": rng.name(), "expire": when(rng)}.get(key, rng.integer())
    return f"the {name} {verb} {value}", ("thing_" + key, name), name


def errand(rng):
    text = rng.pick(("buy {w}", "call {N}", "email {N} about the {w}", "buy {w} and {v}", "pay the {w} bill", "water the {w}", "ask {N} about {w}", "fix the {w}", "clean the {w}", "book the {w}", "return the {w} to {N}", "pick up {N} at {h}", "send {N} the {w}", "we need {w}", "{w} {v}", "order {n} {w}", "I owe {N} {n} euros", "{N} owes me {n} dollars", "meet {N} at {h}:30"))
    return fill(text, {"w": rng.word(), "v": rng.word(), "N": rng.name(), "n": rng.integer(), "h": str(rng.randint(1, 23))})


def label(rng):
    """What a computed number stands for."""
    return fill(rng.pick(("the {w}", "the {k}", "my {k}", "the {w} {e}", "the {k} of {w}", "{w}", "the total {k}", "{N}'s {k}", "my {w} {e}", "the {w} {k}")),
                {"w": rng.word(), "k": rng.pick(KEYS), "e": rng.pick(KEY_ENDS), "N": rng.name()})


def recall_question(rng, question):
    key, subject = question
    text = expand(rng.pick(P["recall_" + key]), rng)
    if rng.chance(0.35):
        text = expand(rng.pick(P["recall_wrap"]), rng).replace("{x}", text[0].lower() + text[1:].rstrip("?") if not text.startswith("{") else text.rstrip("?"))
    text = dress(text, rng, False)
    return fill(text, {"s": subject}), skeleton(text)


def beyond(rng):
    text = dress(expand(rng.pick(BEYOND), rng), rng, rng.chance(0.5))
    filled = fill(text, {"W": rng.word().capitalize(), "w": rng.word(), "v": rng.word(), "N": rng.name(), "n": rng.integer(), "g": " ".join(rng.pseudo_word() for _ in range(rng.randint(1, 3)))})
    return filled, skeleton(text)
