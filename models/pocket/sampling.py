"""Random words, names, numbers, file names, and the expansion of phrase templates.

Every random literal belongs to one of two halves by its hash: the training half and the held-out
half, so a word, name, number (of three characters or more) or file name of the evaluation never
occurs in training.
"""

import pathlib
import random
import re
import zlib

HELD_OUT_SHARE = 8  # one literal in eight is held out
WORDS = (pathlib.Path(__file__).parent / "words.txt").read_text().split()
NAMES = """Ada Alan Alice Amara Ana Anders Anita Antonio Arjun Astrid Ben Beatriz Björn Carla Carlos Chen Chloé Clara Dana
David Deniz Diego Dmitri Elena Elif Emma Erik Esther Fatima Felix Fiona Frank Freya Gabriel Georg Grace Greta Hana Hannah
Hassan Helen Hugo Ida Igor Ines Ingrid Ivan Jack Jamal James Jana Jonas José Julia Kai Karin Kenji Klara Lars Laura Lena Leo
Lin Lucas Lucy Luis Maria Marie Mark Marta Max Maya Mia Miguel Mila Milan Mona Nadia Nina Noah Noor Olga Oliver Omar Oscar
Paul Pavel Pedro Petra Priya Rania Ravi Rita Robert Rosa Ruth Sam Sara Sergei Sofia Stefan Sven Tara Thomas Tim Tom Uma Vera
Victor Wei Xavier Yara Yuki Yusuf Zoe Zara Peter John Mary Anna Bob Eve Mallory Trent Carol Dave Simon Andrew Susan Linda
Karen Nancy Betty Sandra Ashley Kevin Brian George Edward Ronald Anthony Jason Ryan Jacob Gary Eric Stephen Larry Justin""".split()
ONSET = "b c d f g h j k l m n p r s t v w z br ch cl cr dr fl fr gl gr kr pl pr qu sc sh sk sl sn sp st str th tr tw x y".split()
VOWEL = "a e i o u a e i o ai au ea ee ie oa oo ou y".split()
CODA = [""] * 14 + "b ck d g l ll m n nd ng nt p r rd rk rn s ss st t th x".split()
EXTENSIONS = ["txt"] * 8 + ["md"] * 5 + "csv json log yaml toml ini cfg html rst dat py rs tex xml conf env".split()


def held_out(text: str) -> bool:
    return zlib.crc32(text.strip().lower().encode()) % HELD_OUT_SHARE == 0


class Sampler(random.Random):
    """Random source of one half: training (held = False) or evaluation (held = True)."""

    def __init__(self, seed, held=False, forbidden=frozenset()):
        super().__init__(seed)
        self.held = held
        self.forbidden = forbidden  # lower-case words that this sampler never makes

    def half(self, make, free_length=3):
        """A literal of this sampler's half; short ones belong to both."""
        while True:
            text = make()
            if (len(text) < free_length or held_out(text) == self.held) and text.lower() not in self.forbidden:
                return text

    def chance(self, p):
        return self.random() < p

    def pick(self, items):
        return items[int(self.random() * len(items))]

    def pseudo_word(self):
        make = lambda: "".join(self.pick(ONSET) + self.pick(VOWEL) + self.pick(CODA) for _ in range(self.pick((1, 1, 2, 2, 2, 2, 3))))
        return self.half(make)

    def real_word(self):
        return self.half(lambda: self.pick(WORDS))

    def word(self):
        return self.real_word() if self.chance(0.55) else self.pseudo_word()

    def words(self, low, high):
        return " ".join(self.word() for _ in range(self.randint(low, high)))

    def name(self):
        if self.chance(0.5):
            return self.half(lambda: self.pick(NAMES))
        return self.pseudo_word().capitalize()

    def integer(self, digits=None):
        digits = digits or self.pick((1, 1, 2, 2, 2, 2, 3, 3, 3, 4, 4, 5, 6))
        return self.half(lambda: str(self.randint(0 if digits == 1 else 10 ** (digits - 1), 10 ** digits - 1)))

    def number(self):
        kind = self.random()
        if kind < 0.78:
            return self.integer()
        if kind < 0.97:
            return self.half(lambda: f"{self.randint(0, self.pick((9, 99, 999)))}.{self.pick((str(self.randint(0, 9)), f'{self.randint(0, 99):02d}', '5', '25', '75'))}")
        return self.half(lambda: str(self.randint(1, 99) * 1000))

    def code(self):
        """A value that is no word: digits, codes, identifiers."""
        kind = self.randint(0, 6)
        if kind == 0:
            return self.integer(self.randint(3, 8))
        if kind == 1:
            return self.half(lambda: "".join(self.pick("ABCDEFGHJKLMNPQRSTUVWXYZ0123456789") for _ in range(self.randint(4, 8))))
        if kind == 2:
            return self.half(lambda: self.pseudo_word() + str(self.randint(0, 999)))
        if kind == 3:
            return self.half(lambda: f"{self.pick('ABCDEFGHKMPRSTX')}{self.pick('ABCDEFGHKMPRSTX')}-{self.randint(10, 99999)}")
        if kind == 4:
            return self.half(lambda: f"{self.randint(1, 28)}.{self.randint(0, 30)}.{self.randint(0, 30)}")
        if kind == 5:
            return self.half(lambda: f"{self.pseudo_word()}@{self.pseudo_word()}.{self.pick(('com', 'org', 'net', 'io', 'de'))}")
        return self.half(lambda: f"{self.randint(2019, 2031)}-{self.randint(1, 12):02d}-{self.randint(1, 28):02d}")

    def value(self):
        kind = self.random()
        if kind < 0.25:
            return self.number()
        if kind < 0.45:
            return self.code()
        if kind < 0.65:
            return self.name()
        if kind < 0.72:
            return f"{self.integer()} {self.pick(('EUR', 'km', 'kg', 'dollars', 'euros', 'hours', 'MB', 'GB', 'ms', 'minutes', 'people', 'cm', '%'))}"
        if kind < 0.77:
            return f"{self.name()} {self.name()}"
        return self.words(1, 3)

    def file_name(self, extension=None, folders=True):
        def stem():
            style = self.random()
            if style < 0.5:
                text = self.word()
            elif style < 0.65:
                text = f"{self.word()}-{self.word()}"
            elif style < 0.8:
                text = f"{self.word()}_{self.word()}"
            elif style < 0.88:
                text = f"{self.word()}{self.randint(1, 99)}"
            elif style < 0.94:
                text = self.word().capitalize()
            else:
                text = self.word().upper()
            return text
        suffix = f".{extension or self.pick(EXTENSIONS)}" if extension or not self.chance(0.04) else ""
        text = self.half(lambda: self.half(stem) + suffix)
        if folders and self.chance(0.18):
            text = f"{self.folder()}/{text}"
        return text

    def folder(self):
        text = self.word() if self.chance(0.7) else self.half(lambda: self.word() + self.pick("-_") + self.word())
        if self.chance(0.12):
            text += "/" + self.word()
        return text


_GROUP = re.compile(r"\[([^\[\]]*)\]")


def expand(template: str, rng) -> str:
    """Resolves every [a|b|] of a template, innermost first, to one alternative."""
    while True:
        match = _GROUP.search(template)
        if not match:
            return template
        template = template[:match.start()] + rng.pick(match.group(1).split("|")) + template[match.end():]


def fill(text: str, slots: dict) -> str:
    for key, value in slots.items():
        text = text.replace("{" + key + "}", value)
    return text


def skeleton(text: str) -> str:
    """A phrase without its case and punctuation, slots as {x}; what must differ between the halves."""
    return " ".join(re.sub(r"[^a-z0-9{}]+", " ", text.lower().replace("'", "")).split())


POLITE_BEFORE = ["please ", "pls ", "can you ", "could you ", "could you please ", "can you please ", "would you ", "hey, ", "hi, ",
                 "hey ", "ok, ", "now ", "i need you to ", "i want you to ", "i'd like you to ", "go ahead and ", "kindly ",
                 "just ", "quickly ", "hello, please ", "hey can you ", "so ", "will you ", "let's ", "help me: ", "next, ", "glasshouse, "]
ASK_BEFORE = ["hey, ", "hi, ", "ok, ", "so ", "quick question: ", "tell me, ", "please tell me: ", "now ", "um, ", "question: ",
              "hello! ", "hey ", "and ", "well, ", "excuse me, ", "i wonder, ", "pls tell me "]
# After an argument that cannot be taken to go on.
AFTER_SLOT = [" please", ", please", " for me", " for me please", ", thanks", ", would you", ", will you", ", if you can", ", if you please", " right away", ", ok", ", if that works",
              ", if it's no trouble", ", can you", ", I need it", ", quickly", ", thank you", ", as fast as you can", " - thanks", ", it's important", ", I'm waiting"]
AFTER = [" please", " pls", ", please", " for me", ", thanks", " thanks", " now", " thank you", ", ok"]


FILLERS = """really actually just simply kindly quickly maybe perhaps exactly please then also again now somehow basically um like
perchance straight possibly right briefly honestly certainly finally still definitely rather certainly""".split()
CONTEXTS = ["I am in a hurry.", "It's late.", "Ok listen.", "My boss is waiting.", "Quick one.", "Sorry to bother you.", "One more thing.", "I have a question.", "Here is my next question.",
            "Good morning.", "Hi there!", "Let's go on.", "I'm back.", "Something else:", "Another thing:", "Listen,", "As I said,", "Alright,", "Right,", "Next question:", "I am new here.", "Fine.", "Great.", "Hm,",
            "I hope you are well.", "This is urgent!", "No rush.", "I need this for work.", "My friend is asking.", "I am on the phone."]


def fillers(text: str, rng) -> str:
    """One filler word between two words outside slots."""
    spots = [m.start() for m in re.finditer(r"(?<=[a-z]) (?=[a-z]+ [a-z])", text)]
    if not spots:
        return text
    at = rng.pick(spots)
    return f"{text[:at]} {rng.pick(FILLERS)}{text[at:]}"


def noise(text: str, rng) -> str:
    """Replaces, drops or adds a word outside slots, so that no single word decides."""
    spots = [m for m in re.finditer(r"\{\w+\}|[A-Za-z']+", text) if not m.group().startswith("{")]
    if len(spots) < 4:
        return text
    # A strange word beside an argument would be taken for a part of it.
    spots = [m for m in spots if not text[m.end():m.end() + 2].endswith("{") and text[max(0, m.start() - 2):m.start() - 1] != "}"]
    if not spots:
        return text
    spot = rng.pick(spots)
    kind = rng.random()
    if kind < 0.6:
        return text[:spot.start()] + rng.real_word() + text[spot.end():]
    if kind < 0.75:
        return (text[:spot.start()] + text[spot.end():].lstrip(" ")).strip() or text
    return text[:spot.start()] + rng.real_word() + " " + text[spot.start():]


def typo(text: str, rng) -> str:
    """One slip in a word of at least four letters outside slots."""
    spots = [m for m in re.finditer(r"\{\w+\}|[a-z]{4,}", text) if not m.group().startswith("{")]
    if not spots:
        return text
    spot = rng.pick(spots)
    i = rng.randint(spot.start() + 1, spot.end() - 2)
    kind = rng.randint(0, 3)
    if kind == 0:
        return text[:i] + text[i + 1:]
    if kind == 1:
        return text[:i] + text[i + 1] + text[i] + text[i + 2:]
    if kind == 2:
        return text[:i] + text[i] + text[i:]
    return text[:i] + rng.pick("etaoinshr") + text[i + 1:]


def lower_outside(text: str) -> str:
    return "".join(p if p.startswith("{") else p.lower() for p in re.split(r"(\{\w+\})", text))


def dress(text: str, rng, imperative: bool) -> str:
    """Politeness, case, punctuation and slips around an expanded template (slots still in it)."""
    if rng.chance(0.1):
        text = fillers(text, rng)
    while rng.chance(0.15):
        text = noise(text, rng)
    ends = text[-1] if text[-1] in "?.!" else ""
    body = text[:-1] if ends else text
    if rng.chance(0.3):
        before = rng.pick(POLITE_BEFORE if imperative else ASK_BEFORE)
        if body[:2] not in ("I ", "I'") and not body.startswith("{"):
            body = body[0].lower() + body[1:]
        body = before + body
        if imperative and before.startswith(("can", "could", "would", "will", "hey can")):
            ends = "?"
    if rng.chance(0.12) and not body.endswith("}"):
        body += rng.pick(AFTER)
    elif body.endswith(("{e}", "{f}", "{k}", "{d}")) and rng.chance(0.12):
        body += rng.pick(AFTER_SLOT)
    kind = rng.random()
    if kind < 0.4:
        body = body[0].upper() + body[1:] if not body.startswith("{") else body
    elif kind < 0.75:
        body = lower_outside(body)
    elif kind < 0.76:
        body = "".join(p if p.startswith("{") else p.upper() for p in re.split(r"(\{\w+\})", body))
    if rng.chance(0.08):
        body = typo(body, rng)
    if rng.chance(0.04):
        body = body.replace("'", "")
    if rng.chance(0.07):
        body = f"{rng.pick(CONTEXTS) if rng.chance(0.7) else rng.words(1, 4) + rng.pick('.,:!')} {body}"
    if rng.chance(0.35):
        ends = ""
    elif ends == "" and rng.chance(0.3):
        ends = rng.pick((".", ".", "!")) if imperative else "?"
    return body + ends
