"""Read the positive findings of a radiology report back from its text: finding, side, site, size and change.

`facts_in` works sentence by sentence, with fixed patterns and no model, on both sections of a report: on the Findings,
and on the Conclusion with its abbreviations (RUL, Rt., GB, GGO, S6, R/O). It needs nothing but the text, so that it can
score a report that a model wrote: the facts of the conclusion that are missing were dropped, facts beyond them were
invented, and a fact that differs in one field was changed.

How a text is read:
- A finding counts unless the text denies it ("No pleural effusion", "Pneumothorax is not seen").
- A suspected finding ("R/O pneumonia", "suggestive of meningioma") counts as stated.
- A diagnosis is read as what is seen: pneumonia as consolidation, mucosal thickening of a sinus as sinusitis.
- A finding that sits in one organ only has that organ as its site, whether the text names it or not.
- The size is the largest measure beside the finding; the change is None where no comparison is made.
- Degree ("mild", "small", "patchy") is not read.
- A cyst, stone or nodule takes its organ from its own sentence, which should speak of one organ alone.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import combinations, pairwise

from kotune.stats import share
from utils import require_same_length


@dataclass(frozen=True)
class Fact:
    """A positive finding with its side (right, left, bilateral or None), site, size and change since the last study."""

    finding: str
    side: str | None
    site: str
    size_mm: float | None = None
    change: str | None = None


@dataclass(frozen=True)
class Term:
    """A pattern that names a finding, the organ it sits in, and a pattern that its sentence must hold as well."""

    finding: str
    pattern: str
    organ: str
    context: str = ""


@dataclass(frozen=True)
class Mention:
    """A place in a sentence where a finding is named."""

    start: int
    end: int
    term: Term


_LIVER = r"\bliver\b|\bhepatic\b|\bS[1-8]\b"
_GALLBLADDER = r"\bgallbladder\b|\bGB\b|\bgallstone|\bcholelith"
_KIDNEY = r"\bkidneys?\b|\brenal\b"
_URETER = r"\bureter|\bUVJ\b"

# The specific names come first: what one term has taken, no later one sees.
TERMS = (
    Term("ground-glass nodule", r"ground[- ]glass nodules?|\bGGNs?\b", "lung"),
    Term("ground-glass opacity", r"ground[- ]glass opacit(?:y|ies)|\bGGOs?\b", "lung"),
    Term("calcified granuloma", r"calcified (?:granuloma|nodule)s?|\bgranulomas?\b", "lung"),
    Term("adrenal nodule", r"\bnodules?\b", "adrenal gland", r"\badrenal\b"),
    Term("nodule", r"\bnodules?\b|\bnodular opacit(?:y|ies)\b", "lung"),
    Term("consolidation", r"\bconsolidations?\b|\bpneumonia\b", "lung"),
    Term("atelectasis", r"\batelecta(?:sis|tic change)\b", "lung"),
    Term("bronchiectasis", r"\bbronchiecta(?:sis|tic changes?)\b", "lung"),
    Term("emphysema", r"\bemphysema(?:tous changes?)?\b", "lung"),
    Term("pleural effusion", r"\bpleural effusions?\b", "pleural space"),
    Term("pericardial effusion", r"\bpericardial effusions?\b", "pericardium"),
    Term("pneumothorax", r"\bpneumothora(?:x|ces)\b", "pleural space"),
    Term("apical pleural thickening", r"\bpleural thickening\b", "lung apex"),
    Term(
        "cardiomegaly",
        r"\bcardiomegaly\b|\b(?:heart|cardiac silhouette) (?:is|appears) (?:\w+ly )?enlarged\b"
        r"|\benlargement of (?:the )?(?:heart|cardiac silhouette)\b",
        "heart",
    ),
    Term("aortic calcification", r"\bcalcifi(?:cations?|ed)\b", "aortic arch", r"\baort"),
    Term("coronary artery calcification", r"\bcalcifi(?:cations?|ed)\b", "coronary artery", r"\bcoronary\b"),
    Term("rib fracture", r"\bfractures?\b", "rib"),
    Term("fatty liver", r"\bfatty (?:liver|infiltration|change)\b|\bsteatosis\b", "liver"),
    Term("hepatic hemangioma", r"\bhemangiomas?\b", "liver"),
    Term("retention cyst", r"\bretention cysts?\b", "paranasal sinus"),
    Term("arachnoid cyst", r"\barachnoid cysts?\b", "brain"),
    Term("hepatic cyst", r"\bcyst(?:s|ic lesions?)?\b", "liver", _LIVER),
    Term("pancreatic cyst", r"\bcyst(?:s|ic lesions?)?\b", "pancreas", r"\bpancrea"),
    Term("renal cyst", r"\bcyst(?:s|ic lesions?)?\b", "kidney", _KIDNEY),
    Term("gallstone", r"\bgallstones?\b|\bcholelithiasis\b|\bstones?\b|\bcalcul(?:us|i)\b", "gallbladder", _GALLBLADDER),
    Term("ureter stone", r"\bstones?\b|\bcalcul(?:us|i)\b", "ureter", _URETER),
    Term("renal stone", r"\bstones?\b|\bcalcul(?:us|i)\b", "kidney", _KIDNEY),
    Term("gallbladder polyp", r"\bpolyp(?:s|oid lesions?)?\b", "gallbladder", _GALLBLADDER),
    Term("hydronephrosis", r"\bhydronephrosis\b", "kidney"),
    Term(
        "splenomegaly",
        r"\bsplenomegaly\b|\bspleen (?:is|appears) (?:\w+ly )?enlarged\b|\benlargement of (?:the )?spleen\b",
        "spleen",
    ),
    Term("colonic diverticulosis", r"\bdiverticul(?:osis|a|um)\b", "colon"),
    Term("white matter change", r"\bsmall vessel\b|\bT2/FLAIR (?:hyperintensit|high signal)", "white matter"),
    Term("lacunar infarct", r"\blacunar infarct(?:s|ions?)?\b|\blacunes?\b", "brain"),
    Term("microbleed", r"\bmicrobleeds?\b|\bmicrohemorrhages?\b", "brain"),
    Term("encephalomalacia", r"\bencephalomalaci(?:a|c changes?)\b", "brain"),
    Term("meningioma", r"\bmeningiomas?\b", "brain"),
    Term("brain atrophy", r"\batrophy\b|\bvolume loss\b", "brain"),
    Term("sinusitis", r"\bsinusitis\b|\bmucosal thickening\b", "paranasal sinus"),
    Term("mastoid effusion", r"\bmastoid effusions?\b|\bfluid\b", "mastoid", r"\bmastoid\b"),
)

_TERMS = [
    (term, re.compile(term.pattern, re.IGNORECASE), re.compile(term.context, re.IGNORECASE) if term.context else None)
    for term in TERMS
]
_ANY_TERM = re.compile("|".join(term.pattern for term in TERMS), re.IGNORECASE)

_SEGMENT = r"(\w+(?: basal)?) segment"
_BRAIN_SITE = (
    r"\b(basal ganglia|thalamus|corona radiata|centrum semiovale|pons|cerebellar hemisphere|sphenoid wing"
    r"|(?:frontal|parietal|temporal|occipital) (?:lobe|convexity)|(?:middle|posterior) cranial fossa)"
)
# Parts of each organ: the first pattern that fits names the site; where none fits, the organ itself is the site.
SITES = {
    "lung": (
        (r"\blingula", "lingular segment of upper lobe"),
        (rf"\b{_SEGMENT} of (upper|middle|lower) lobe", r"\1 segment of \2 lobe"),
        (rf"\b(upper|middle|lower) lobe,? {_SEGMENT}", r"\2 segment of \1 lobe"),
        (r"\b(upper|middle|lower) lobe", r"\1 lobe"),
        (r"\b(upper|middle|lower) lung (?:zone|field)", r"\1 lung zone"),
    ),
    "rib": ((r"\b(\d+(?:st|nd|rd|th)) rib", r"\1 rib"),),
    "liver": (
        (r"\b(?:segment |S)([1-8])\b", r"segment \1 of liver"),
        (r"\bhepatic lobe|\blobe of liver", "hepatic lobe"),
    ),
    "gallbladder": (
        (r"\b(neck|body|fundus) of (?:gallbladder|GB)", r"\1 of gallbladder"),
        (r"\b(?:gallbladder|GB) (neck|body|fundus)", r"\1 of gallbladder"),
    ),
    "kidney": ((r"\b(upper pole|mid portion|lower pole)", r"\1 of kidney"),),
    "ureter": (
        (r"\b(proximal|mid|distal) ureter", r"\1 ureter"),
        (r"\bureterovesical junction|\bUVJ\b", "ureterovesical junction"),
    ),
    "pancreas": (
        (r"\b(head|body|tail) of pancreas", r"\1 of pancreas"),
        (r"\bpancreas (head|body|tail)", r"\1 of pancreas"),
    ),
    "colon": ((r"\b(cecum|(?:ascending|transverse|descending|sigmoid) colon)", r"\1"),),
    "white matter": ((r"\b(periventricular(?: and deep)? white matter)", r"\1"),),
    "paranasal sinus": ((r"\b(maxillary|ethmoid|sphenoid|frontal) sinus", r"\1 sinus"),),
    "brain": ((_BRAIN_SITE, r"\1"),),
}

CHANGES = (
    (
        "unchanged",
        r"\b(?:no|without|not) (?:significant(?:ly)? |definite |interval )*change[ds]?\b|\bunchanged\b|\bstable\b",
    ),
    ("new", r"\bnew(?:ly)?\b|\bnot seen on (?:the )?(?:prior|previous)\b"),
    (
        "increased",
        r"\binterval (?:increase|progression)\b|\bincreased (?:in (?:size|extent|amount|degree)|since|compared)\b"
        r"|\bincreased(?=\s*(?:[,.;)]|$))",
    ),
    (
        "decreased",
        r"\binterval (?:decrease|improvement)\b|\bdecreased (?:in (?:size|extent|amount|degree)|since|compared)\b"
        r"|\bdecreased(?=\s*(?:[,.;)]|$))",
    ),
)

_DENIED_AFTER = re.compile(r"\b(?:no|without|negative for|free of|absence of|neither|nor)\b", re.IGNORECASE)
_DENIED_BEFORE = re.compile(
    r"\bnot (?:seen|identified|evident|present|observed|noted|detected|visible|visualized)\b|\babsent\b", re.IGNORECASE
)
_TURN = re.compile(r";|\b(?:but|however|except|other than)\b", re.IGNORECASE)  # a denial does not reach beyond it
_CONNECTOR = re.compile(r"[,;]|\b(?:and|with|as well as)\b", re.IGNORECASE)
_MEASURE = r"\d{1,6}(?:\.\d{1,6})?"
_SIZE = re.compile(rf"(?<!\d)({_MEASURE}(?:\s{{0,9}}[x×]\s{{0,9}}{_MEASURE}){{0,3}})[\s-]{{0,9}}(mm|cm)\b", re.IGNORECASE)
_SIDE = re.compile(r"\b(right|left|bilateral|both)\b", re.IGNORECASE)
_SIDE_OR_ARTICLE = re.compile(r"\b(?:the|right|left|bilateral|both)\s+", re.IGNORECASE)
_ABBREVIATED_PART = re.compile(r"\b([RL])([UML])L(F?)\b")
_LIST_NUMBER = re.compile(r"(?m)^[^\S\n]*+\d++[.)]\s++")
_REACH = 400  # characters about a finding in which its place is named; no sentence of the course's reports is longer
_SIDES = {"R": "right", "L": "left"}
_LEVELS = {"U": "upper", "M": "middle", "L": "lower"}


def facts_in(text: str) -> set[Fact]:
    """Return the positive facts that a report's Findings or Conclusion states."""
    return {fact for sentence in _sentences(text) for fact in _facts_of(sentence)}


def _sentences(text: str) -> list[str]:
    """Split a text at line ends and full stops, with list numbers dropped and sides and lobes written out."""
    text = _LIST_NUMBER.sub("", text)
    text = re.sub(r"\b[Rr]t\b\.?", "right", re.sub(r"\b[Ll]t\b\.?", "left", text))
    text = _ABBREVIATED_PART.sub(_written_out, text)
    return [sentence for sentence in re.split(r"(?<=[.!?])\s+|\n+", text) if sentence.strip()]


def _written_out(match: re.Match) -> str:
    """Return "right upper lobe" for RUL, and "right upper lung field" for RULF."""
    side, level, field = match.groups()
    return f"{_SIDES[side]} {_LEVELS[level]} {'lung field' if field else 'lobe'}"


def _facts_of(sentence: str) -> set[Fact]:
    """Return the facts of one sentence, each read from the part of the sentence that speaks of it."""
    mentions = _mentions(sentence)
    if not mentions:
        return set()
    denials = _Denials(sentence)
    stated = [mention for mention in mentions if not denials.reach(mention)]
    cuts = [cut for one, other in pairwise(stated) if (cut := _cut_between(sentence, one, other)) is not None]
    facts: set[Fact] = set()
    waiting = deque(stated)
    for start, end in pairwise([0, *cuts, len(sentence)]):
        terms: set[Term] = set()
        while waiting and waiting[0].start < end:
            terms.add(waiting.popleft().term)
        facts |= {_read(sentence[start:end], term) for term in terms}
    return facts


def _mentions(sentence: str) -> list[Mention]:
    """Return the findings that a sentence names, in their order; each stretch of text belongs to one term."""
    found: list[Mention] = []
    if not _ANY_TERM.search(sentence):  # as of most sentences, which is soon said
        return found
    free = sentence
    for term, pattern, context in _TERMS:
        if context is not None and not context.search(sentence):
            continue
        named = [Mention(match.start(), match.end(), term) for match in pattern.finditer(free)]
        if named:
            found += named
            free = pattern.sub(lambda match: "#" * len(match[0]), free)
    return sorted(found, key=lambda mention: mention.start)


class _Denials:
    """Where a sentence denies what stands behind it or before it, and where a denial ends; "no change" denies nothing."""

    def __init__(self, sentence: str):
        for _, pattern in CHANGES:
            sentence = re.sub(pattern, lambda match: "#" * len(match[0]), sentence, flags=re.IGNORECASE)
        self._before = _places(_DENIED_AFTER, sentence)
        self._behind = _places(_DENIED_BEFORE, sentence)
        self._turns = _places(_TURN, sentence)

    def reach(self, mention: Mention) -> bool:
        """Return whether a denial before or behind a finding reaches it."""
        denied, turned = self._before.last_before(mention.start), self._turns.last_before(mention.start)
        if denied is not None and (turned is None or denied > turned):
            return True
        denied, turned = self._behind.first_behind(mention.end), self._turns.first_behind(mention.end)
        return denied is not None and (turned is None or denied < turned)


class _Places:
    """Where a pattern stands in a text, to be asked of many places."""

    def __init__(self, spans: Iterable[tuple[int, int]]):
        self._starts, self._ends = [], []
        for start, end in spans:
            self._starts.append(start)
            self._ends.append(end)

    def last_before(self, place: int) -> int | None:
        """Return where the last one starts that ends before a place or at it."""
        number = bisect_right(self._ends, place)
        return self._starts[number - 1] if number else None

    def first_behind(self, place: int) -> int | None:
        """Return where the first one starts that does so at a place or behind it."""
        number = bisect_left(self._starts, place)
        return self._starts[number] if number < len(self._starts) else None


def _places(pattern: re.Pattern, text: str) -> _Places:
    return _Places(match.span() for match in pattern.finditer(text))


def _cut_between(sentence: str, one: Mention, other: Mention) -> int | None:
    """Return where the statement of the second finding begins, or None where both belong to one statement."""
    connectors = list(_CONNECTOR.finditer(sentence, one.end, other.start))
    if not connectors:
        return None
    cut = connectors[-1].start()
    named_again = one.term.finding == other.term.finding  # "consolidation in the RLL, R/O pneumonia"
    before, behind = sentence[max(0, cut - _REACH) : cut], sentence[cut : cut + _REACH]
    if named_again and not (_has_place(before, one.term) and _has_place(behind, other.term)):
        return None
    return cut


def _has_place(part: str, term: Term) -> bool:
    return _side(part) is not None or _site(part, term) != term.organ


def _read(part: str, term: Term) -> Fact:
    """Return the fact that a part of a sentence states about a finding."""
    return Fact(term.finding, _side(part), _site(part, term), _size_mm(part), _change(part))


def _side(part: str) -> str | None:
    """Return the side that is named; both sides, together or one by one, are bilateral."""
    named = {side.lower() for side in _SIDE.findall(part)}
    if named & {"bilateral", "both"} or {"right", "left"} <= named:
        return "bilateral"
    return next(iter(named), None)


def _site(part: str, term: Term) -> str:
    """Return the part of the term's organ that is named, or the organ."""
    plain = _SIDE_OR_ARTICLE.sub("", part)
    for pattern, site in SITES.get(term.organ, ()):
        match = re.search(pattern, plain, re.IGNORECASE)
        if match:
            return match.expand(site).lower()
    return term.organ


def _size_mm(part: str) -> float | None:
    """Return the largest measure in millimetres, or None."""
    sizes = [
        float(number) * (10 if unit.lower() == "cm" else 1)
        for numbers, unit in _SIZE.findall(part)
        for number in re.split(r"\s*[x×]\s*", numbers)
    ]
    return round(max(sizes), 1) if sizes else None


def _change(part: str) -> str | None:
    """Return the change since the last study that is named first in CHANGES, or None."""
    return next((change for change, pattern in CHANGES if re.search(pattern, part, re.IGNORECASE)), None)


FACT_FIELDS = tuple(field.name for field in fields(Fact))  # finding, side, site, size_mm, change


@dataclass(frozen=True)
class ChangedFact:
    """A fact of the reference that a report states otherwise, and in which fields."""

    reference: Fact
    report: Fact
    fields: tuple[str, ...]


@dataclass(frozen=True)
class FactComparison:
    """What a report keeps, changes, drops and adds, against the facts of its conclusion or reference report."""

    kept: tuple[Fact, ...]
    changed: tuple[ChangedFact, ...]
    dropped: tuple[Fact, ...]
    added: tuple[Fact, ...]

    @property
    def n_reference(self) -> int:
        """How many facts the reference states."""
        return len(self.kept) + len(self.changed) + len(self.dropped)

    @property
    def n_report(self) -> int:
        """How many facts the report states."""
        return len(self.kept) + len(self.changed) + len(self.added)

    @property
    def exact(self) -> bool:
        """Whether the report states the facts of the reference and no others."""
        return len(self.kept) == self.n_reference == self.n_report


def compare_facts(report: str, reference: str) -> FactComparison:
    """Compare the positive facts of a report with those of its conclusion or reference; both are read by `facts_in`.

    A fact that is not kept whole counts as changed where the report has one of the same finding left, or else one at the
    same side and site; of several the pair with the fewest different fields is taken first.
    """
    wanted, stated = facts_in(reference), facts_in(report)
    dropped, added = _ordered(wanted - stated), _ordered(stated - wanted)
    changed = _pair_off(dropped, added, alike=("finding",)) + _pair_off(dropped, added, alike=("side", "site"))
    return FactComparison(tuple(_ordered(wanted & stated)), tuple(changed), tuple(dropped), tuple(added))


def _ordered(facts: set[Fact]) -> list[Fact]:
    return sorted(facts, key=lambda fact: tuple(str(getattr(fact, name)) for name in FACT_FIELDS))


def _pair_off(dropped: list[Fact], added: list[Fact], alike: tuple[str, ...]) -> list[ChangedFact]:
    """Take pairs that are alike in some fields out of both lists, those with the fewest different fields first.

    At each number of differences a dropped fact takes the first added one that is left: what agrees in more fields has been
    taken before.
    """
    others = [name for name in FACT_FIELDS if name not in alike]
    taken: list[tuple[int, int]] = []
    left, free = set(range(len(dropped))), set(range(len(added)))
    for differences in range(len(others) + 1):
        equal = [(*alike, *names) for names in combinations(others, len(others) - differences)]
        waiting = _by_fields(added, free, equal)
        for i in sorted(left):
            found = [j for names in equal if (j := _first(waiting[names].get(_values(dropped[i], names)), free)) is not None]
            if found:
                taken.append((i, min(found)))
                left.discard(i)
                free.discard(min(found))
    changed = [ChangedFact(dropped[i], added[j], _different(dropped[i], added[j])) for i, j in taken]
    dropped[:] = [dropped[i] for i in sorted(left)]
    added[:] = [added[j] for j in sorted(free)]
    return changed


def _by_fields(facts: Sequence[Fact], places: set[int], equal: list[tuple[str, ...]]) -> dict[tuple[str, ...], dict]:
    """Return the places of facts in order by the values of some of their fields, for several choices of fields."""
    found: dict[tuple[str, ...], dict[tuple, deque[int]]] = {names: {} for names in equal}
    for place in sorted(places):
        for names in equal:
            found[names].setdefault(_values(facts[place], names), deque()).append(place)
    return found


def _values(fact: Fact, names: tuple[str, ...]) -> tuple:
    return tuple(getattr(fact, name) for name in names)


def _first(places: deque[int] | None, free: set[int]) -> int | None:
    """Return the first place that is free still, and forget those before it."""
    while places and places[0] not in free:
        places.popleft()
    return places[0] if places else None


def _different(one: Fact, other: Fact) -> tuple[str, ...]:
    return tuple(name for name in FACT_FIELDS if getattr(one, name) != getattr(other, name))


@dataclass(frozen=True)
class FactScores:
    """Facts over a set of reports, summed. A changed fact is neither right (precision) nor found (recall).

    precision: kept of stated; recall: kept of the references'; f1 of both, over sums; NaN where nothing was stated or due.
    exact_rate: share of the n reports without any difference. changed_fields: how often each field was changed.
    """

    n: int
    kept: int
    changed: int
    dropped: int
    added: int
    precision: float
    recall: float
    f1: float
    exact_rate: float
    changed_fields: dict[str, int]
    rows: list[FactComparison]


def fact_scores(reports: Sequence[str], references: Sequence[str]) -> FactScores:
    """Compare each report with its conclusion or reference, and sum up.

    Raises:
        CourseError: there are no reports, or more or fewer than references.
    """
    require_same_length(reports, references, "reports", "references")
    rows = [compare_facts(report, reference) for report, reference in zip(reports, references, strict=True)]
    kept, changed, dropped, added = (
        sum(len(getattr(row, name)) for row in rows) for name in ("kept", "changed", "dropped", "added")
    )
    counts = Counter(name for row in rows for change in row.changed for name in change.fields)
    return FactScores(
        n=len(rows),
        kept=kept,
        changed=changed,
        dropped=dropped,
        added=added,
        precision=share(kept, kept + changed + added),
        recall=share(kept, kept + changed + dropped),
        f1=share(2 * kept, 2 * kept + 2 * changed + dropped + added),
        exact_rate=share(sum(row.exact for row in rows), len(rows)),
        changed_fields={name: counts[name] for name in FACT_FIELDS},
        rows=rows,
    )
