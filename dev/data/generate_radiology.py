"""Write synthetic radiology reports as Korean hospitals write them: English body, Korean instruction.

The data teaches one task: a radiology Conclusion goes in, the Findings that belong to it come out. Each report is drawn
from facts (finding, side, site, size, change), so that both sections say the same, and a scorer can tell what a model
added, dropped or changed (`radiology_facts.facts_in`). No patient stands behind any report.

    python dev/data/generate_radiology.py        rewrite the files in data/radiology

What the conclusion states, the findings repeat: every fact, and the degree where one is given. The findings add what
defines a finding ("posterior acoustic shadowing" of a stone) and the usual negatives of the study, and nothing else.
"""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from kotune.data.excel import write_sheet
from kotune.korean.radiology import Fact, facts_in
from utils import DATA, write_jsonl

SEED = 7  # of the files that the course ships
TRAIN_ROWS, TEST_ROWS, PAIRS_OF_A_KIND = 260, 60, 20
ERROR_KINDS = ("side", "lobe", "size", "invented_finding")


@dataclass(frozen=True)
class Report:
    """One report with the facts that it was written from, the positive findings in the order of the conclusion."""

    id: str
    study: str
    facts: tuple[Fact, ...]
    instruction: str
    conclusion: str
    findings: str


@dataclass(frozen=True)
class Kind:
    """A finding as one study shows it: where it can be, its size, degree and changes, and the ways to write it.

    `impressions` are patterns of the conclusion, with the nouns of `nouns`; `sentences` are patterns of the findings,
    with the nouns of `terms`.
    """

    finding: str
    places: tuple[tuple[str | None, str], ...]
    impressions: tuple[str, ...]
    sentences: tuple[str, ...]
    nouns: tuple[str, ...] = ("",)
    terms: tuple[str, ...] = ("",)
    sizes: range | None = None
    degrees: tuple[str, ...] = ("",)
    changes: tuple[str, ...] = ("new", "unchanged", "increased", "decreased")
    measure: str = "in size"
    remarks: tuple[str, ...] = ("",)


@dataclass(frozen=True)
class Negative:
    """A usual negative of a study: its phrasings, the findings that it rules out, and when it fits.

    A negative fits a report that has none of the findings it rules out; with `of_the_rest`, it speaks of what else
    there could be ("the remaining lungs"), and fits a report that has one of them.
    """

    phrases: tuple[str, ...]
    rules_out: frozenset[str] = frozenset()
    of_the_rest: bool = False

    def fits(self, findings: set[str]) -> bool:
        """Return whether the negative can stand beside these positive findings."""
        return bool(self.rules_out & findings) == self.of_the_rest


@dataclass(frozen=True)
class Study:
    """A kind of examination: its name in Korean, what it can show, and its usual negatives from top to bottom."""

    name: str
    korean: str
    kinds: tuple[Kind, ...]
    negatives: tuple[Negative, ...]

    def kind_of(self, finding: str) -> Kind:
        """Return how this study shows a finding."""
        return next(kind for kind in self.kinds if kind.finding == finding)


# --- places ----------------------------------------------------------------------------------


def _both(*sites: str) -> tuple[tuple[str, str], ...]:
    """Return each site on the right and on the left."""
    return tuple((side, site) for site in sites for side in ("right", "left"))


def _bilateral(*sites: str) -> tuple[tuple[str, str], ...]:
    return tuple(("bilateral", site) for site in sites)


def _unsided(*sites: str) -> tuple[tuple[None, str], ...]:
    return tuple((None, site) for site in sites)


LUNG_ZONES = _both("upper lung zone", "middle lung zone", "lower lung zone")
LUNG_LOBES = (*_both("upper lobe", "lower lobe"), ("right", "middle lobe"))
LUNG_SEGMENTS = (
    ("right", "apical segment of upper lobe"),
    ("right", "posterior segment of upper lobe"),
    ("left", "apicoposterior segment of upper lobe"),
    ("left", "lingular segment of upper lobe"),
    ("right", "lateral segment of middle lobe"),
    ("right", "medial segment of middle lobe"),
    *_both("anterior segment of upper lobe", "superior segment of lower lobe"),
    *_both("lateral basal segment of lower lobe", "posterior basal segment of lower lobe"),
)
PLEURAL_SPACE = _both("pleural space")
LIVER_PARTS = (*_unsided(*(f"segment {number} of liver" for number in range(2, 9))), *_both("hepatic lobe"))
KIDNEY_PARTS = _both("upper pole of kidney", "mid portion of kidney", "lower pole of kidney")
BRAIN_LOBES = _both("frontal lobe", "parietal lobe", "temporal lobe", "occipital lobe")
LOBES = {"upper lobe", "middle lobe", "lower lobe", "upper lung zone", "middle lung zone", "lower lung zone"} | {
    site for _, site in BRAIN_LOBES
}

BILATERAL_PLACES = {
    "upper lobe": "both upper lobes",
    "lower lobe": "both lower lobes",
    "upper lung zone": "both upper lung zones",
    "lower lung zone": "both lower lung zones",
    "maxillary sinus": "both maxillary sinuses",
    "ethmoid sinus": "both ethmoid sinuses",
    "sphenoid sinus": "both sphenoid sinuses",
    "pleural space": "both pleural spaces",
    "periventricular white matter": "the bilateral periventricular white matter",
    "periventricular and deep white matter": "the bilateral periventricular and deep white matter",
}
SHORT_LOBES = {
    "right upper lobe": "RUL",
    "right middle lobe": "RML",
    "right lower lobe": "RLL",
    "left upper lobe": "LUL",
    "left lower lobe": "LLL",
}
SHORT_SIDES = {"right": "Rt.", "left": "Lt.", "bilateral": "bilateral", None: ""}


def _place(fact: Fact) -> str:
    """Return a fact's place as the findings write it: "the upper pole of the right kidney"."""
    if fact.side == "bilateral" and fact.site in BILATERAL_PLACES:
        return BILATERAL_PLACES[fact.site]
    part, _, organ = fact.site.rpartition(" of ")
    whole = f"the {fact.side} {organ}" if fact.side else f"the {organ}"
    if not part:
        return whole
    return f"{part} of {whole}" if part.startswith("segment ") and part[-1].isdigit() else f"the {part} of {whole}"


def _short_place(fact: Fact) -> str:
    """Return a fact's place as a terse conclusion writes it: RUL, S6, GB neck, Rt. kidney upper pole."""
    part, _, organ = fact.site.rpartition(" of ")
    if organ == "liver" and part:
        return part.replace("segment ", "S")
    if fact.side == "bilateral" and fact.site in BILATERAL_PLACES:
        return BILATERAL_PLACES[fact.site].removeprefix("the ")
    whole = f"{fact.side or ''} {organ}".strip()
    if whole in SHORT_LOBES:
        return f"{part} of {SHORT_LOBES[whole]}" if part else SHORT_LOBES[whole]
    organ = organ.replace("lung zone", "lung field").replace("gallbladder", "GB")
    return " ".join(word for word in (SHORT_SIDES[fact.side], organ, part) if word)


# --- ways to write -----------------------------------------------------------------------------

SIZED_IMPRESSIONS = (
    "a {size} {noun} in {place}",
    "{size} {noun} in {place}",
    "{size} {noun}, {short}",
    "{noun} ({size}), {short}",
    "{noun} in {short}, {size}",
    "about {size} sized {noun} in {short}",
)
SIZED_SENTENCES = (
    "there is a {size} {noun} in {place}",
    "a {size} {noun} is seen in {place}",
    "a {noun} measuring {size} is noted in {place}",
    "{place} {shows} a {size} {noun}",
    "in {place}, there is a {noun} measuring about {size}",
    "a {noun} of approximately {size} is present in {place}",
    "a {size} {noun} is identified in {place}",
    "a {noun} is located in {place}, measuring {size} in the longest diameter",
)
CALCIFIED_NODULE_SENTENCES = (
    "a {size} calcified nodule is seen in {place}, consistent with a granuloma",
    "{place} shows a {size} calcified nodule, suggestive of a granuloma",
)
SHADOWING_STONE_SENTENCES = (
    "a {size} stone with posterior acoustic shadowing is seen in {place}",
    "{place} contains a {size} echogenic stone with posterior acoustic shadowing",
    "an echogenic focus with posterior acoustic shadowing is noted in {place}, consistent with a {size} stone",
)
HEMANGIOMA_SENTENCES = (
    "a {size} {noun} is seen in {place}, suggestive of hemangioma",
    "there is a {size} {noun} in {place}, consistent with hemangioma",
    "a {noun} measuring {size} is noted in {place}, suggesting hemangioma",
    "{place} shows a {size} {noun}, suggestive of hemangioma",
    "in {place}, there is a {noun} measuring about {size}, likely a hemangioma",
    "a {noun} of approximately {size} is present in {place}, consistent with hemangioma",
)
UNSIZED_IMPRESSIONS = (
    "{noun} in {place}",
    "{noun}, {short}",
    "{noun} in {short}",
    "{noun} at {short}",
    "{noun} involving {place}",
)
UNSIZED_SENTENCES = (
    "{noun} is seen in {place}",
    "there is {noun} in {place}",
    "{place} {shows} {noun}",
    "{areas} of {noun} {are} noted in {place}",
    "{noun} is identified in {place}",
    "{noun} involving {place} is present",
)
EFFUSION_IMPRESSIONS = (
    "{degree} {side} pleural effusion",
    "{degree} amount of {side} pleural effusion",
    "{degree} amount of pleural effusion {on_side}",
    "{short_side} pleural effusion, {degree} amount",
    "{side} pleural effusion ({degree})",
)
EFFUSION_SENTENCES = (
    "{degree} {side} pleural effusion is seen",
    "there is a {degree} amount of {side} pleural effusion",
    "a {degree} amount of pleural effusion is noted {on_side}",
    "pleural effusion of {degree} amount is present {on_side}",
)
BLUNT_ANGLE_SENTENCES = (
    "{angles} {are} blunted, consistent with {degree} pleural effusion",
    "blunting of {angles} is noted, suggesting {degree} pleural effusion",
)
CT_EFFUSION_SENTENCES = (
    "{degree} pleural effusion is identified in {place}",
    "{degree} pleural effusion is seen layering dependently in {place}",
)
PNEUMOTHORAX_IMPRESSIONS = (
    "{degree} {side} pneumothorax",
    "a {degree} pneumothorax {on_side}",
    "{short_side} pneumothorax, {degree} amount",
    "{degree} pneumothorax in {hemithorax}",
)
PNEUMOTHORAX_SENTENCES = (
    "a {degree} {side} pneumothorax is seen",
    "there is a {degree} pneumothorax {on_side}",
    "a {degree} {side}-sided pneumothorax is noted",
    "{hemithorax} shows a {degree} pneumothorax",
    "a {degree} pneumothorax is present in {place}",
)
VISCERAL_LINE_SENTENCES = ("a visceral pleural line is visible in {hemithorax}, consistent with a {degree} pneumothorax",)
CARDIOMEGALY_IMPRESSIONS = ("{degree} cardiomegaly", "cardiomegaly, {degree}", "{degree} enlargement of the heart")
CARDIOMEGALY_SENTENCES = (
    "the heart is {adverb} enlarged",
    "{degree} cardiomegaly is noted",
    "there is {degree} cardiomegaly",
    "{degree} enlargement of the heart is seen",
    "the heart appears {adverb} enlarged",
)
SILHOUETTE_SENTENCES = (
    "the cardiac silhouette is {adverb} enlarged",
    "the cardiothoracic ratio is above the normal range, indicating {degree} cardiomegaly",
)
APICAL_THICKENING_SENTENCES = (
    "{side} apical pleural thickening is seen",
    "there is {side} apical pleural thickening",
    "pleural thickening is noted at {apices}",
    "{apices} {shows} pleural thickening",
    "apical pleural thickening is present {on_side}",
)
FATTY_LIVER_IMPRESSIONS = (
    "{degree} fatty liver",
    "{degree} hepatic steatosis",
    "fatty liver, {degree} degree",
    "{degree} fatty infiltration of the liver",
)
FATTY_LIVER_SENTENCES = (
    "there is {degree} fatty infiltration of the liver",
    "{degree} diffuse fatty change of the liver is seen",
)
HYDRONEPHROSIS_IMPRESSIONS = (
    "{degree} {side} hydronephrosis",
    "{degree} hydronephrosis, {short}",
    "{short_side} hydronephrosis, {degree} degree",
    "{degree} hydronephrosis of {place}",
)
HYDRONEPHROSIS_SENTENCES = (
    "{degree} hydronephrosis of {place} is seen",
    "there is {degree} {side} hydronephrosis",
    "{place} shows {degree} hydronephrosis",
    "{degree} dilatation of the {side} pelvocalyceal system is noted, consistent with hydronephrosis",
    "{side} hydronephrosis of {degree} degree is present",
    "pelvocalyceal dilatation of {degree} degree is noted in {place}, consistent with hydronephrosis",
)
SPLENOMEGALY_IMPRESSIONS = (
    "{degree} splenomegaly",
    "splenomegaly, {degree} degree",
    "{degree} enlargement of the spleen",
)
SPLENOMEGALY_SENTENCES = (
    "the spleen is {adverb} enlarged",
    "there is {degree} splenomegaly",
    "{degree} splenomegaly is noted",
    "{degree} enlargement of the spleen is seen",
    "the splenic length exceeds the normal range, consistent with {degree} splenomegaly",
)

CHANGES_IN_CONCLUSION = {
    "new": (", new", ", newly noted", ", newly developed"),
    "unchanged": (
        ", unchanged",
        ", no change",
        ", stable",
        ", without interval change",
        ", no significant interval change",
    ),
    "increased": (", increased {measure}", ", with interval increase", ", increased since the prior study"),
    "decreased": (", decreased {measure}", ", with interval decrease", ", decreased since the prior study"),
}
CHANGES_IN_FINDINGS = {
    "new": (
        ", newly noted since the prior study",
        ", new compared with the previous examination",
        ", not seen on the prior study",
        ", newly developed since the previous study",
    ),
    "unchanged": (
        ", unchanged since the prior study",
        ", without significant interval change",
        ", stable compared with the previous examination",
        ", showing no interval change",
    ),
    "increased": (
        ", increased {measure} since the prior study",
        ", with an interval increase {measure}",
        ", increased {measure} compared with the previous examination",
        ", showing an interval increase {measure} since the previous study",
    ),
    "decreased": (
        ", decreased {measure} since the prior study",
        ", with an interval decrease {measure}",
        ", decreased {measure} compared with the previous examination",
        ", showing an interval decrease {measure} since the previous study",
    ),
}

# --- findings of each study ----------------------------------------------------------------------

RADIOGRAPH_KINDS = (
    Kind(
        "nodule",
        LUNG_ZONES,
        SIZED_IMPRESSIONS,
        SIZED_SENTENCES,
        nouns=("nodule", "pulmonary nodule", "nodular opacity"),
        terms=("nodule", "pulmonary nodule", "nodular opacity"),
        sizes=range(6, 29),
        remarks=("", "", "; rec) chest CT"),
    ),
    Kind(
        "consolidation",
        (*LUNG_ZONES, *_bilateral("lower lung zone")),
        UNSIZED_IMPRESSIONS,
        UNSIZED_SENTENCES,
        nouns=("consolidation", "pneumonia", "R/O pneumonia", "pneumonic consolidation"),
        terms=("consolidation", "air-space consolidation"),
        measure="in extent",
    ),
    Kind(
        "pleural effusion",
        (*PLEURAL_SPACE, *_bilateral("pleural space")),
        EFFUSION_IMPRESSIONS,
        EFFUSION_SENTENCES + BLUNT_ANGLE_SENTENCES,
        degrees=("small", "moderate"),
        measure="in amount",
    ),
    Kind(
        "pneumothorax",
        PLEURAL_SPACE,
        PNEUMOTHORAX_IMPRESSIONS,
        PNEUMOTHORAX_SENTENCES + VISCERAL_LINE_SENTENCES,
        degrees=("small", "moderate"),
        measure="in amount",
    ),
    Kind(
        "atelectasis",
        (*_both("middle lung zone", "lower lung zone"), *_bilateral("lower lung zone")),
        UNSIZED_IMPRESSIONS,
        UNSIZED_SENTENCES,
        nouns=("{degree} atelectasis",),
        terms=("{degree} atelectasis", "{degree} atelectatic change"),
        degrees=("linear", "subsegmental"),
        measure="in extent",
    ),
    Kind(
        "cardiomegaly",
        _unsided("heart"),
        CARDIOMEGALY_IMPRESSIONS,
        CARDIOMEGALY_SENTENCES + SILHOUETTE_SENTENCES,
        degrees=("mild", "moderate"),
        changes=("unchanged", "increased", "decreased"),
        measure="in degree",
    ),
    Kind(
        "calcified granuloma",
        LUNG_ZONES,
        SIZED_IMPRESSIONS,
        SIZED_SENTENCES + CALCIFIED_NODULE_SENTENCES,
        nouns=("calcified granuloma",),
        terms=("calcified granuloma",),
        sizes=range(4, 13),
        changes=("unchanged",),
    ),
    Kind(
        "apical pleural thickening",
        (*_both("lung apex"), *_bilateral("lung apex")),
        ("{side} apical pleural thickening", "{short_side} apical pleural thickening"),
        APICAL_THICKENING_SENTENCES,
        changes=("unchanged",),
    ),
    Kind(
        "aortic calcification",
        _unsided("aortic arch"),
        (
            "aortic arch calcification",
            "atherosclerotic calcification of the aortic arch",
            "calcified aortic arch",
        ),
        (
            "calcification is seen along the aortic arch",
            "atherosclerotic calcification of the aortic arch is noted",
            "the aortic arch shows calcification",
            "there is calcification in the wall of the aortic arch",
            "the aortic arch is calcified",
        ),
        changes=("unchanged",),
    ),
    Kind(
        "rib fracture",
        _both("5th rib", "6th rib", "7th rib", "8th rib", "9th rib"),
        ("old fracture of {place}", "old fracture, {short}", "healed fracture of {short}", "{short} old fracture"),
        (
            "an old healed fracture is seen in {place}",
            "{place} shows an old healed fracture",
            "deformity of {place} is noted, consistent with an old fracture",
            "there is an old fracture of {place}",
            "old fracture deformity is noted in {place}",
        ),
        changes=("unchanged",),
    ),
)

CHEST_CT_KINDS = (
    Kind(
        "nodule",
        LUNG_LOBES + LUNG_SEGMENTS,
        SIZED_IMPRESSIONS,
        SIZED_SENTENCES,
        nouns=("{degree} nodule", "{degree} pulmonary nodule"),
        terms=("{degree} nodule", "{degree} pulmonary nodule"),
        sizes=range(3, 29),
        degrees=("", "solid"),
        remarks=("", "", "; rec) F/U CT"),
    ),
    Kind(
        "ground-glass nodule",
        LUNG_LOBES + LUNG_SEGMENTS,
        SIZED_IMPRESSIONS,
        SIZED_SENTENCES,
        nouns=("ground-glass nodule", "GGN"),
        terms=("ground-glass nodule", "ground-glass nodule (GGN)"),
        sizes=range(4, 23),
        remarks=("", "", "; rec) F/U CT"),
    ),
    Kind(
        "ground-glass opacity",
        (*LUNG_LOBES, *_bilateral("upper lobe", "lower lobe")),
        UNSIZED_IMPRESSIONS,
        UNSIZED_SENTENCES,
        nouns=("{degree} ground-glass opacity", "{degree} GGO"),
        terms=("{degree} ground-glass opacity",),
        degrees=("patchy", "ill-defined"),
        measure="in extent",
        remarks=("", "", "; R/O infection"),
    ),
    Kind(
        "consolidation",
        (*LUNG_LOBES, *_bilateral("lower lobe")),
        UNSIZED_IMPRESSIONS,
        UNSIZED_SENTENCES,
        nouns=("consolidation", "pneumonia", "R/O pneumonia", "pneumonic consolidation"),
        terms=("consolidation", "air-space consolidation"),
        measure="in extent",
    ),
    Kind(
        "pleural effusion",
        (*PLEURAL_SPACE, *_bilateral("pleural space")),
        EFFUSION_IMPRESSIONS,
        EFFUSION_SENTENCES + CT_EFFUSION_SENTENCES,
        degrees=("small", "moderate"),
        measure="in amount",
    ),
    Kind(
        "pneumothorax",
        PLEURAL_SPACE,
        PNEUMOTHORAX_IMPRESSIONS,
        PNEUMOTHORAX_SENTENCES,
        degrees=("small", "moderate"),
        measure="in amount",
    ),
    Kind(
        "atelectasis",
        (
            *_both("lower lobe"),
            ("right", "middle lobe"),
            ("left", "lingular segment of upper lobe"),
            *_bilateral("lower lobe"),
        ),
        UNSIZED_IMPRESSIONS,
        UNSIZED_SENTENCES,
        nouns=("{degree} atelectasis",),
        terms=("{degree} atelectasis", "{degree} atelectatic change"),
        degrees=("linear", "subsegmental"),
        measure="in extent",
    ),
    Kind(
        "bronchiectasis",
        (*LUNG_LOBES, ("left", "lingular segment of upper lobe"), *_bilateral("lower lobe")),
        UNSIZED_IMPRESSIONS,
        (*UNSIZED_SENTENCES, "{degree} bronchial dilatation is noted in {place}, consistent with bronchiectasis"),
        nouns=("{degree} bronchiectasis",),
        terms=("{degree} bronchiectasis",),
        degrees=("mild", "cylindrical"),
        changes=("unchanged", "increased"),
        measure="in extent",
    ),
    Kind(
        "emphysema",
        (*_both("upper lobe"), *_bilateral("upper lobe")),
        UNSIZED_IMPRESSIONS,
        UNSIZED_SENTENCES,
        nouns=("{degree} emphysema",),
        terms=("{degree} emphysema", "{degree} emphysematous change"),
        degrees=("mild centrilobular", "moderate centrilobular", "mild paraseptal"),
        changes=("unchanged", "increased"),
        measure="in extent",
    ),
    Kind(
        "calcified granuloma",
        LUNG_LOBES,
        SIZED_IMPRESSIONS,
        SIZED_SENTENCES + CALCIFIED_NODULE_SENTENCES,
        nouns=("calcified granuloma",),
        terms=("calcified granuloma",),
        sizes=range(3, 13),
        changes=("unchanged",),
    ),
    Kind(
        "cardiomegaly",
        _unsided("heart"),
        CARDIOMEGALY_IMPRESSIONS,
        CARDIOMEGALY_SENTENCES,
        degrees=("mild", "moderate"),
        changes=("unchanged", "increased"),
        measure="in degree",
    ),
    Kind(
        "pericardial effusion",
        _unsided("pericardium"),
        (
            "{degree} pericardial effusion",
            "{degree} amount of pericardial effusion",
            "pericardial effusion, {degree} amount",
        ),
        (
            "{degree} pericardial effusion is seen",
            "there is a {degree} amount of pericardial effusion",
            "{degree} pericardial effusion is noted around the heart",
            "a {degree} amount of pericardial effusion is identified",
            "pericardial effusion of {degree} amount is present",
        ),
        degrees=("small", "minimal"),
        measure="in amount",
    ),
    Kind(
        "coronary artery calcification",
        _unsided("coronary artery"),
        (
            "{degree} coronary artery calcification",
            "coronary artery calcification, {degree} degree",
            "{degree} calcification of the coronary arteries",
        ),
        (
            "{degree} coronary artery calcification is seen",
            "there is {degree} calcification of the coronary arteries",
            "{degree} calcified plaque is noted in the coronary arteries",
            "calcification of {degree} degree is seen along the coronary arteries",
            "the coronary arteries show {degree} calcification",
        ),
        degrees=("mild", "moderate"),
        changes=("unchanged",),
    ),
)

ULTRASOUND_KINDS = (
    Kind(
        "hepatic cyst",
        LIVER_PARTS,
        SIZED_IMPRESSIONS,
        SIZED_SENTENCES,
        nouns=("hepatic cyst", "cyst"),
        terms=("cyst", "anechoic cyst", "well-defined anechoic cystic lesion"),
        sizes=range(6, 46),
        changes=("unchanged", "increased"),
    ),
    Kind(
        "hepatic hemangioma",
        LIVER_PARTS,
        SIZED_IMPRESSIONS,
        HEMANGIOMA_SENTENCES,
        nouns=("hemangioma", "probable hemangioma", "hepatic hemangioma"),
        terms=("hyperechoic lesion", "well-defined hyperechoic lesion"),
        sizes=range(8, 36),
        changes=("unchanged", "increased"),
    ),
    Kind(
        "fatty liver",
        _unsided("liver"),
        FATTY_LIVER_IMPRESSIONS,
        (
            *FATTY_LIVER_SENTENCES,
            "the liver shows {adverb} increased parenchymal echogenicity, consistent with fatty liver",
            "the hepatic parenchyma is {adverb} and diffusely hyperechoic, suggesting fatty liver",
            "{degree} fatty liver is noted, with a bright hepatic echotexture",
        ),
        degrees=("mild", "moderate"),
        changes=("unchanged", "increased", "decreased"),
        measure="in degree",
    ),
    Kind(
        "gallstone",
        _unsided("gallbladder", "neck of gallbladder"),
        SIZED_IMPRESSIONS,
        SIZED_SENTENCES + SHADOWING_STONE_SENTENCES,
        nouns=("stone", "calculus"),
        terms=("stone", "echogenic stone"),
        sizes=range(4, 25),
        changes=("new", "unchanged", "increased"),
    ),
    Kind(
        "gallbladder polyp",
        _unsided("gallbladder", "body of gallbladder", "fundus of gallbladder"),
        SIZED_IMPRESSIONS,
        SIZED_SENTENCES,
        nouns=("polyp", "polypoid lesion"),
        terms=("polyp", "polypoid lesion", "echogenic non-shadowing polypoid lesion"),
        sizes=range(2, 10),
        changes=("new", "unchanged", "increased"),
        remarks=("", "", "; rec) F/U US"),
    ),
    Kind(
        "renal cyst",
        KIDNEY_PARTS,
        SIZED_IMPRESSIONS,
        SIZED_SENTENCES,
        nouns=("cyst", "renal cyst"),
        terms=("cyst", "anechoic cyst", "anechoic cystic lesion"),
        sizes=range(7, 56),
        changes=("unchanged", "increased"),
    ),
    Kind(
        "renal stone",
        KIDNEY_PARTS,
        SIZED_IMPRESSIONS,
        SIZED_SENTENCES + SHADOWING_STONE_SENTENCES,
        nouns=("stone", "renal stone"),
        terms=("stone", "echogenic stone"),
        sizes=range(3, 15),
        changes=("new", "unchanged", "increased"),
    ),
    Kind(
        "hydronephrosis",
        _both("kidney"),
        HYDRONEPHROSIS_IMPRESSIONS,
        HYDRONEPHROSIS_SENTENCES,
        degrees=("mild", "moderate"),
        measure="in degree",
    ),
    Kind(
        "splenomegaly",
        _unsided("spleen"),
        SPLENOMEGALY_IMPRESSIONS,
        SPLENOMEGALY_SENTENCES,
        degrees=("mild", "moderate"),
        changes=("unchanged", "increased", "decreased"),
        measure="in degree",
    ),
)

ABDOMEN_CT_KINDS = (
    Kind(
        "hepatic cyst",
        LIVER_PARTS,
        SIZED_IMPRESSIONS,
        SIZED_SENTENCES,
        nouns=("hepatic cyst", "cyst"),
        terms=("cyst", "low-density cyst", "non-enhancing cystic lesion"),
        sizes=range(6, 46),
        changes=("unchanged", "increased"),
    ),
    Kind(
        "hepatic hemangioma",
        LIVER_PARTS,
        SIZED_IMPRESSIONS,
        HEMANGIOMA_SENTENCES,
        nouns=("hemangioma", "probable hemangioma", "hepatic hemangioma"),
        terms=("peripherally enhancing lesion", "well-defined enhancing lesion"),
        sizes=range(8, 36),
        changes=("unchanged", "increased"),
    ),
    Kind(
        "fatty liver",
        _unsided("liver"),
        FATTY_LIVER_IMPRESSIONS,
        (
            *FATTY_LIVER_SENTENCES,
            "the liver shows {adverb} decreased attenuation, consistent with fatty liver",
            "hepatic attenuation is {adverb} and diffusely low, suggesting fatty liver",
            "diffuse low attenuation of the hepatic parenchyma is seen, consistent with {degree} fatty liver",
        ),
        degrees=("mild", "moderate"),
        changes=("unchanged", "increased", "decreased"),
        measure="in degree",
    ),
    Kind(
        "gallstone",
        _unsided("gallbladder", "neck of gallbladder"),
        SIZED_IMPRESSIONS,
        SIZED_SENTENCES,
        nouns=("stone", "calculus"),
        terms=("stone", "high-density stone", "calculus"),
        sizes=range(4, 25),
        changes=("new", "unchanged", "increased"),
    ),
    Kind(
        "renal cyst",
        KIDNEY_PARTS,
        SIZED_IMPRESSIONS,
        SIZED_SENTENCES,
        nouns=("cyst", "renal cyst"),
        terms=("cyst", "non-enhancing cyst", "low-density cystic lesion"),
        sizes=range(7, 56),
        changes=("unchanged", "increased"),
    ),
    Kind(
        "renal stone",
        KIDNEY_PARTS,
        SIZED_IMPRESSIONS,
        SIZED_SENTENCES,
        nouns=("stone", "renal stone"),
        terms=("stone", "high-density stone", "calculus"),
        sizes=range(3, 15),
        changes=("new", "unchanged", "increased"),
    ),
    Kind(
        "ureter stone",
        _both("proximal ureter", "mid ureter", "distal ureter", "ureterovesical junction"),
        SIZED_IMPRESSIONS,
        SIZED_SENTENCES,
        nouns=("stone", "calculus"),
        terms=("stone", "high-density stone", "calculus"),
        sizes=range(3, 12),
        changes=("new", "unchanged"),
    ),
    Kind(
        "hydronephrosis",
        _both("kidney"),
        HYDRONEPHROSIS_IMPRESSIONS,
        HYDRONEPHROSIS_SENTENCES,
        degrees=("mild", "moderate"),
        measure="in degree",
    ),
    Kind(
        "splenomegaly",
        _unsided("spleen"),
        SPLENOMEGALY_IMPRESSIONS,
        SPLENOMEGALY_SENTENCES,
        degrees=("mild", "moderate"),
        changes=("unchanged", "increased", "decreased"),
        measure="in degree",
    ),
    Kind(
        "pancreatic cyst",
        _unsided("head of pancreas", "body of pancreas", "tail of pancreas"),
        SIZED_IMPRESSIONS,
        SIZED_SENTENCES,
        nouns=("cystic lesion", "cyst"),
        terms=("cystic lesion", "well-defined cystic lesion"),
        sizes=range(6, 29),
        remarks=("", "", "; rec) F/U CT"),
        changes=("new", "unchanged", "increased"),
    ),
    Kind(
        "adrenal nodule",
        _both("adrenal gland"),
        SIZED_IMPRESSIONS,
        SIZED_SENTENCES,
        nouns=("nodule",),
        terms=("nodule", "well-defined nodule"),
        sizes=range(8, 29),
        changes=("new", "unchanged", "increased"),
        remarks=("", "", "; R/O adenoma"),
    ),
    Kind(
        "colonic diverticulosis",
        _unsided("cecum", "ascending colon", "descending colon", "sigmoid colon"),
        ("diverticulosis of {place}", "diverticulosis in {short}", "{short} diverticulosis", "diverticula in {place}"),
        (
            "multiple diverticula are seen in {place}",
            "there are multiple diverticula in {place}",
            "{place} shows multiple diverticula",
            "diverticulosis of {place} is noted",
            "multiple outpouchings consistent with diverticula are noted along {place}",
        ),
        changes=("unchanged",),
    ),
)

BRAIN_MRI_KINDS = (
    Kind(
        "white matter change",
        _bilateral("periventricular white matter", "periventricular and deep white matter"),
        (
            "{degree} chronic small vessel ischemic change in {place}",
            "{degree} small vessel disease, {short}",
            "{degree} small vessel ischemic change in {short}",
            "chronic small vessel disease of {degree} degree in {place}",
        ),
        (
            "{degree} T2/FLAIR hyperintensity is seen in {place}, suggesting small vessel disease",
            "there is {degree} T2/FLAIR hyperintensity in {place}",
            "{place} shows {degree} T2/FLAIR high signal intensity, consistent with small vessel ischemic change",
            "{degree} chronic small vessel ischemic change is noted in {place}",
            "T2/FLAIR high signal intensity of {degree} degree is noted in {place}, likely due to small vessel disease",
        ),
        degrees=("mild", "moderate"),
        changes=("unchanged", "increased"),
        measure="in extent",
    ),
    Kind(
        "lacunar infarct",
        _both("basal ganglia", "thalamus", "corona radiata", "pons", "cerebellar hemisphere"),
        SIZED_IMPRESSIONS,
        SIZED_SENTENCES,
        nouns=("old lacunar infarct", "chronic lacunar infarct"),
        terms=("old lacunar infarct", "chronic lacunar infarct", "lacune of CSF signal intensity"),
        sizes=range(3, 14),
        changes=("unchanged",),
    ),
    Kind(
        "microbleed",
        (*BRAIN_LOBES, *_both("thalamus")),
        ("a microbleed in {place}", "microbleed, {short}", "cerebral microbleed in {place}", "microbleed in {short}"),
        (
            "a tiny dark focus is seen in {place} on susceptibility-weighted imaging, consistent with a microbleed",
            "there is a microbleed in {place}",
            "a punctate low-signal focus consistent with a microbleed is noted in {place}",
            "{place} shows a microbleed on susceptibility-weighted imaging",
            "a punctate focus of susceptibility is present in {place}, suggesting a microbleed",
        ),
        changes=("new", "unchanged"),
    ),
    Kind(
        "encephalomalacia",
        BRAIN_LOBES,
        UNSIZED_IMPRESSIONS,
        (*UNSIZED_SENTENCES, "focal parenchymal loss is noted in {place}, consistent with encephalomalacia"),
        nouns=("encephalomalacia", "encephalomalacic change"),
        terms=("encephalomalacia", "encephalomalacic change"),
        changes=("unchanged",),
    ),
    Kind(
        "meningioma",
        _both("frontal convexity", "parietal convexity", "sphenoid wing"),
        (
            "a {size} meningioma along {place}",
            "{size} meningioma, {short}",
            "R/O meningioma ({size}), {short}",
            "meningioma along {short}, {size}",
            "about {size} sized meningioma along {place}",
        ),
        (
            "a {size} extra-axial mass is seen along {place}, suggestive of meningioma",
            "there is a {size} extra-axial mass along {place}, consistent with meningioma",
            "a dural-based mass measuring {size} is noted along {place}, suggesting meningioma",
            "{place} shows a {size} dural-based mass, consistent with meningioma",
            "along {place}, there is an extra-axial mass measuring about {size}, suggestive of meningioma",
        ),
        sizes=range(8, 33),
        changes=("unchanged", "increased"),
        remarks=("", "", "; rec) F/U MRI"),
    ),
    Kind(
        "arachnoid cyst",
        _both("middle cranial fossa"),
        SIZED_IMPRESSIONS,
        SIZED_SENTENCES,
        nouns=("arachnoid cyst",),
        terms=("arachnoid cyst", "CSF-signal arachnoid cyst", "extra-axial arachnoid cyst"),
        sizes=range(12, 49),
        changes=("unchanged",),
    ),
    Kind(
        "sinusitis",
        (
            *_both("maxillary sinus", "ethmoid sinus", "frontal sinus"),
            *_bilateral("maxillary sinus", "ethmoid sinus", "sphenoid sinus"),
        ),
        (
            "{side} {site}itis",
            "{short_side} {site}itis",
            "mucosal thickening in {place}",
            "sinusitis, {short}",
            "mucosal thickening, {short}",
        ),
        (
            "mucosal thickening is seen in {place}",
            "there is mucosal thickening in {place}",
            "{place} {shows} mucosal thickening",
            "inflammatory mucosal thickening is noted in {place}",
            "mucosal thickening involving {place} is present, suggesting sinusitis",
        ),
        measure="in extent",
    ),
    Kind(
        "retention cyst",
        _both("maxillary sinus"),
        SIZED_IMPRESSIONS,
        SIZED_SENTENCES,
        nouns=("retention cyst", "mucous retention cyst"),
        terms=("retention cyst", "mucous retention cyst"),
        sizes=range(6, 27),
    ),
    Kind(
        "brain atrophy",
        _unsided("brain"),
        ("{degree} diffuse brain atrophy", "{degree} cerebral atrophy", "diffuse brain atrophy, {degree} degree"),
        (
            "the cerebral sulci and ventricles are {adverb} prominent, consistent with brain atrophy",
            "there is {degree} diffuse brain atrophy",
            "{degree} diffuse widening of the cortical sulci is seen, suggesting brain atrophy",
            "{degree} diffuse cerebral volume loss is noted",
            "diffuse brain atrophy of {degree} degree is present",
        ),
        degrees=("mild", "moderate"),
        changes=("unchanged", "increased"),
        measure="in degree",
    ),
    Kind(
        "mastoid effusion",
        (*_both("mastoid"), *_bilateral("mastoid")),
        ("{side} mastoid effusion", "{short_side} mastoid effusion", "mastoid effusion {on_side}"),
        (
            "fluid signal intensity is seen in the {side} mastoid air cells",
            "there is mastoid effusion {on_side}",
            "T2 high-signal fluid is noted in the {side} mastoid air cells",
            "the {side} mastoid air cells contain fluid",
            "{side} mastoid effusion is identified",
        ),
        measure="in amount",
    ),
)

# --- usual negatives of each study -----------------------------------------------------------------

LUNG_LESIONS = frozenset(
    {
        "nodule",
        "consolidation",
        "ground-glass nodule",
        "ground-glass opacity",
        "atelectasis",
        "bronchiectasis",
        "emphysema",
        "calcified granuloma",
    }
)
CLEAR_LUNGS = (
    Negative(
        (
            "Both lungs are clear.",
            "No focal lung lesion is identified.",
            "There is no active lesion in either lung.",
            "No abnormal opacity is seen in either lung.",
        ),
        LUNG_LESIONS,
    ),
    Negative(
        (
            "The remaining lungs are clear.",
            "No other focal lung lesion is identified.",
            "The rest of both lungs is unremarkable.",
            "No additional parenchymal abnormality is seen.",
            "The lungs are otherwise clear.",
        ),
        LUNG_LESIONS,
        of_the_rest=True,
    ),
)

RADIOGRAPH_NEGATIVES = (
    *CLEAR_LUNGS,
    Negative(
        (
            "No focal consolidation is seen.",
            "There is no air-space consolidation.",
            "No evidence of pneumonia is noted.",
            "The lungs are free of consolidation.",
        ),
        frozenset({"consolidation"}),
    ),
    Negative(
        (
            "No pleural effusion or pneumothorax is seen.",
            "There is no pneumothorax or pleural effusion.",
            "Neither pleural effusion nor pneumothorax is present.",
            "Pleural effusion and pneumothorax are not seen.",
        ),
        frozenset({"pleural effusion", "pneumothorax"}),
    ),
    Negative(
        (
            "Both costophrenic angles are sharp.",
            "No pleural effusion is seen.",
            "There is no evidence of pleural effusion.",
            "The costophrenic angles are preserved bilaterally.",
        ),
        frozenset({"pleural effusion"}),
    ),
    Negative(
        (
            "No pneumothorax is seen.",
            "There is no evidence of pneumothorax.",
            "Pneumothorax is not identified.",
            "No visible pneumothorax is noted.",
        ),
        frozenset({"pneumothorax"}),
    ),
    Negative(
        (
            "The heart size is within normal limits.",
            "The heart is normal in size.",
            "No cardiomegaly is noted.",
            "The cardiothoracic ratio is within the normal range.",
            "The cardiac silhouette is not enlarged.",
        ),
        frozenset({"cardiomegaly"}),
    ),
    Negative(
        (
            "The mediastinal contour is unremarkable.",
            "No mediastinal widening is noted.",
            "The mediastinum is normal in contour and position.",
            "The trachea is in the midline.",
        )
    ),
    Negative(
        (
            "Both hila are unremarkable.",
            "No hilar enlargement is seen.",
            "The hilar shadows are within normal limits.",
            "The pulmonary vascularity is normal.",
        )
    ),
    Negative(
        (
            "No acute bony abnormality is seen.",
            "The visualized bony thorax is intact.",
            "No bony abnormality of the thorax is identified.",
            "The osseous structures are unremarkable.",
        ),
        frozenset({"rib fracture"}),
    ),
    Negative(
        (
            "Both hemidiaphragms are smooth in contour.",
            "No free air is seen under the diaphragm.",
            "There is no subdiaphragmatic free air.",
            "The diaphragm is normal in position.",
        )
    ),
)

CHEST_CT_NEGATIVES = (
    *CLEAR_LUNGS,
    Negative(
        (
            "No pulmonary nodule is identified.",
            "There is no suspicious nodule in either lung.",
            "No pulmonary nodule or mass is seen.",
            "Both lungs are free of nodules.",
        ),
        frozenset({"nodule", "ground-glass nodule", "calcified granuloma"}),
    ),
    Negative(
        (
            "No consolidation or ground-glass opacity is seen.",
            "There is no consolidation or ground-glass opacity.",
            "Neither consolidation nor ground-glass opacity is present.",
            "Consolidation and ground-glass opacity are not identified.",
        ),
        frozenset({"consolidation", "ground-glass opacity", "ground-glass nodule"}),
    ),
    Negative(
        (
            "The central airways are patent.",
            "The trachea and main bronchi are patent.",
            "No endobronchial lesion is seen.",
            "No central airway obstruction is noted.",
        )
    ),
    Negative(
        (
            "No pleural effusion or pneumothorax is seen.",
            "There is no pneumothorax or pleural effusion.",
            "Neither pleural effusion nor pneumothorax is present.",
            "Pleural effusion and pneumothorax are not seen.",
        ),
        frozenset({"pleural effusion", "pneumothorax"}),
    ),
    Negative(
        (
            "No pleural effusion is seen.",
            "There is no evidence of pleural effusion.",
            "Pleural effusion is not identified.",
            "No fluid collection is noted in the pleural spaces.",
        ),
        frozenset({"pleural effusion"}),
    ),
    Negative(
        (
            "No enlarged mediastinal or hilar lymph nodes are seen.",
            "There is no mediastinal or hilar lymphadenopathy.",
            "No significant lymph node enlargement is noted in the mediastinum.",
            "Mediastinal and hilar lymph nodes are not enlarged.",
        )
    ),
    Negative(
        (
            "The heart size is normal.",
            "The heart is not enlarged.",
            "The cardiac chambers are normal in size.",
            "No cardiomegaly is noted.",
        ),
        frozenset({"cardiomegaly"}),
    ),
    Negative(
        (
            "No pericardial effusion is seen.",
            "There is no pericardial effusion.",
            "Pericardial effusion is not identified.",
            "No fluid is noted in the pericardial space.",
        ),
        frozenset({"pericardial effusion"}),
    ),
    Negative(
        (
            "The thoracic aorta and main pulmonary artery are normal in caliber.",
            "The great vessels are unremarkable.",
            "No aneurysmal dilatation of the thoracic aorta is noted.",
            "The thoracic aorta is normal in diameter.",
        )
    ),
    Negative(
        (
            "No destructive bone lesion is seen.",
            "The visualized bones are unremarkable.",
            "There is no osteolytic or osteoblastic lesion in the bony thorax.",
            "No suspicious bony lesion is identified.",
        )
    ),
    Negative(
        (
            "The included upper abdomen is unremarkable.",
            "No significant abnormality is noted in the scanned upper abdomen.",
            "The visualized upper abdominal organs are unremarkable.",
            "There is no gross abnormality in the included upper abdomen.",
        )
    ),
)

CLEAR_LIVER = (
    Negative(
        (
            "No focal hepatic lesion is seen.",
            "There is no focal lesion in the liver.",
            "No focal mass is identified in the liver.",
            "The liver shows no focal lesion.",
        ),
        frozenset({"hepatic cyst", "hepatic hemangioma"}),
    ),
    Negative(
        (
            "No other focal hepatic lesion is seen.",
            "There is no additional focal lesion in the liver.",
            "No other focal lesion is identified in the liver.",
            "No other focal abnormality is noted in the liver.",
        ),
        frozenset({"hepatic cyst", "hepatic hemangioma"}),
        of_the_rest=True,
    ),
)
CLEAR_BILE_DUCTS = Negative(
    (
        "The intrahepatic and extrahepatic bile ducts are not dilated.",
        "No biliary dilatation is seen.",
        "There is no dilatation of the intrahepatic or common bile duct.",
        "The common bile duct is normal in caliber.",
    )
)
NO_ASCITES = Negative(
    (
        "No ascites is seen.",
        "There is no ascites.",
        "No free fluid is noted in the abdominal cavity.",
        "There is no evidence of ascites.",
    )
)
NORMAL_SPLEEN = Negative(
    (
        "The spleen is normal in size.",
        "No splenomegaly is noted.",
        "The spleen is not enlarged.",
        "The spleen is unremarkable.",
    ),
    frozenset({"splenomegaly"}),
)
NO_HYDRONEPHROSIS = Negative(
    (
        "No hydronephrosis is seen in either kidney.",
        "There is no hydronephrosis.",
        "The renal collecting systems are not dilated.",
        "Hydronephrosis is not identified.",
    ),
    frozenset({"hydronephrosis"}),
)
NORMAL_KIDNEYS = Negative(
    (
        "Both kidneys are unremarkable.",
        "No focal lesion or hydronephrosis is noted in either kidney.",
        "Both kidneys are normal in size without focal lesion, stone, or hydronephrosis.",
        "There is no abnormality in either kidney.",
    ),
    frozenset({"renal cyst", "renal stone", "hydronephrosis"}),
)

ULTRASOUND_NEGATIVES = (
    *CLEAR_LIVER,
    Negative(
        (
            "The liver is normal in size and echogenicity.",
            "Hepatic parenchymal echogenicity is within normal limits.",
            "No diffuse parenchymal abnormality of the liver is seen.",
            "The liver has a homogeneous echotexture with normal echogenicity.",
        ),
        frozenset({"fatty liver"}),
    ),
    Negative(
        (
            "No gallstone or sludge is seen in the gallbladder.",
            "There is no gallstone.",
            "No stone is identified in the gallbladder.",
            "The gallbladder lumen is free of stones.",
        ),
        frozenset({"gallstone"}),
    ),
    Negative(
        (
            "The gallbladder wall is not thickened.",
            "No gallbladder wall thickening is noted.",
            "There is no thickening of the gallbladder wall or pericholecystic fluid.",
            "The gallbladder is well distended with a thin wall.",
        )
    ),
    CLEAR_BILE_DUCTS,
    Negative(
        (
            "The visualized pancreas is unremarkable.",
            "No abnormality is noted in the visualized portion of the pancreas.",
            "The pancreas is normal in echogenicity where visualized.",
            "The main pancreatic duct is not dilated.",
        )
    ),
    NORMAL_SPLEEN,
    NORMAL_KIDNEYS,
    NO_HYDRONEPHROSIS,
    NO_ASCITES,
)

ABDOMEN_CT_NEGATIVES = (
    *CLEAR_LIVER,
    Negative(
        (
            "The liver is normal in attenuation.",
            "Hepatic parenchymal attenuation is within normal limits.",
            "No diffuse parenchymal abnormality of the liver is seen.",
            "The liver is normal in size and attenuation.",
        ),
        frozenset({"fatty liver"}),
    ),
    Negative(
        (
            "No radiopaque gallstone is seen.",
            "The gallbladder is unremarkable without stone.",
            "There is no visible stone in the gallbladder.",
            "The gallbladder is unremarkable.",
        ),
        frozenset({"gallstone"}),
    ),
    CLEAR_BILE_DUCTS,
    Negative(
        (
            "The pancreas is unremarkable.",
            "No focal lesion is seen in the pancreas.",
            "The pancreas is normal without ductal dilatation.",
            "There is no pancreatic mass or ductal dilatation.",
        ),
        frozenset({"pancreatic cyst"}),
    ),
    NORMAL_SPLEEN,
    Negative(
        (
            "Both adrenal glands are unremarkable.",
            "No adrenal mass is seen.",
            "The adrenal glands are normal in thickness.",
            "There is no focal lesion in either adrenal gland.",
        ),
        frozenset({"adrenal nodule"}),
    ),
    NORMAL_KIDNEYS,
    NO_HYDRONEPHROSIS,
    Negative(
        (
            "No ureteral stone is seen.",
            "There is no stone along either ureter.",
            "No radiopaque stone is identified along the course of the ureters.",
            "Neither ureter contains a stone.",
        ),
        frozenset({"ureter stone"}),
    ),
    Negative(
        (
            "No bowel wall thickening or obstruction is seen.",
            "The bowel loops are not dilated.",
            "There is no evidence of bowel obstruction.",
            "No abnormal bowel wall thickening is identified.",
        )
    ),
    Negative(
        (
            "No enlarged lymph nodes are seen in the abdomen.",
            "There is no abdominal lymphadenopathy.",
            "No significant lymph node enlargement is noted.",
            "Retroperitoneal and mesenteric lymph nodes are not enlarged.",
        )
    ),
    NO_ASCITES,
)

BRAIN_MRI_NEGATIVES = (
    Negative(
        (
            "No diffusion restriction is seen to suggest acute infarction.",
            "There is no evidence of acute infarction on diffusion-weighted imaging.",
            "Diffusion-weighted imaging shows no acute infarction.",
            "No acute ischemic lesion is identified.",
        )
    ),
    Negative(
        (
            "No intracranial hemorrhage is seen.",
            "There is no evidence of intracranial hemorrhage.",
            "No hemorrhagic lesion is identified.",
            "Susceptibility-weighted imaging shows no hemorrhage.",
        ),
        frozenset({"microbleed"}),
    ),
    Negative(
        (
            "No space-occupying lesion is seen.",
            "There is no intracranial mass.",
            "No intra-axial or extra-axial mass is identified.",
            "No mass lesion is noted in the brain.",
        ),
        frozenset({"meningioma", "arachnoid cyst"}),
    ),
    Negative(
        (
            "The midline structures are not shifted.",
            "No midline shift is seen.",
            "There is no midline shift or herniation.",
            "The basal cisterns are preserved.",
        )
    ),
    Negative(
        (
            "The ventricles and sulci are normal for age.",
            "The ventricles are normal in size and configuration.",
            "No hydrocephalus or abnormal sulcal widening is noted.",
            "There is no ventricular enlargement.",
        ),
        frozenset({"brain atrophy", "encephalomalacia"}),
    ),
    Negative(
        (
            "No abnormal signal intensity is seen in the cerebral white matter.",
            "The cerebral white matter is normal in signal intensity.",
            "There is no white matter signal abnormality.",
            "White matter signal intensity is within normal limits.",
        ),
        frozenset({"white matter change", "lacunar infarct", "encephalomalacia"}),
    ),
    Negative(
        (
            "The brainstem and cerebellum are unremarkable.",
            "No abnormality is seen in the brainstem or cerebellum.",
            "The posterior fossa structures are unremarkable.",
            "There is no focal lesion in the posterior fossa.",
        ),
        frozenset({"lacunar infarct"}),
    ),
    Negative(
        (
            "The flow voids of the major intracranial vessels are preserved.",
            "Major intracranial vascular flow voids are maintained.",
            "Normal flow voids are seen in the major intracranial arteries.",
            "No loss of flow void is noted in the major intracranial vessels.",
        )
    ),
    Negative(
        (
            "The sella turcica and pituitary gland are unremarkable.",
            "No sellar or parasellar lesion is seen.",
            "The pituitary gland is normal in size.",
            "There is no abnormality in the sellar region.",
        )
    ),
    Negative(
        (
            "The paranasal sinuses are clear.",
            "No abnormality is seen in the paranasal sinuses.",
            "The paranasal sinuses are well aerated.",
            "There is no mucosal thickening in the paranasal sinuses.",
        ),
        frozenset({"sinusitis", "retention cyst"}),
    ),
    Negative(
        (
            "The mastoid air cells are clear.",
            "Both mastoid air cells are well aerated.",
            "No mastoid effusion is seen.",
            "The mastoid air cells are well pneumatized.",
        ),
        frozenset({"mastoid effusion"}),
    ),
)

STUDIES = (
    Study("chest radiograph", "흉부 X선 사진", RADIOGRAPH_KINDS, RADIOGRAPH_NEGATIVES),
    Study("chest CT", "흉부 CT", CHEST_CT_KINDS, CHEST_CT_NEGATIVES),
    Study("abdomen ultrasound", "복부 초음파", ULTRASOUND_KINDS, ULTRASOUND_NEGATIVES),
    Study("abdomen CT", "복부 CT", ABDOMEN_CT_KINDS, ABDOMEN_CT_NEGATIVES),
    Study("brain MRI", "뇌 MRI", BRAIN_MRI_KINDS, BRAIN_MRI_NEGATIVES),
)

INSTRUCTIONS = (
    "다음은 {study} 판독문의 Conclusion입니다. 이 내용에 맞는 Findings를 영어로 작성해 주세요. "
    "Conclusion으로 뒷받침되지 않는 이상 소견은 추가하지 마세요.",
    "당신은 영상의학과 판독을 돕는 보조자입니다. {study} Conclusion을 읽고 Findings를 영어로 작성하세요. "
    "병변의 좌우, 부위, 크기는 그대로 유지하세요.",
    "아래 {study} Conclusion을 근거로 Findings를 영어 문장으로 써 주세요. 병변의 좌우와 부위, 크기가 바뀌면 안 됩니다.",
    "{study} 판독 결론(Conclusion)을 바탕으로 판독 소견(Findings)을 영어로 작성하시오. "
    "결론에서 확인할 수 없는 이상 소견은 덧붙이지 마시오.",
    "주어진 Conclusion에 해당하는 {study} Findings를 2~6개의 영어 문장으로 작성해 줘. "
    "이상 소견은 Conclusion에 있는 것만 쓰고, 나머지는 정상 소견으로 적어 줘.",
    "{study} 판독문에서 Findings 부분이 비어 있습니다. Conclusion과 어긋나지 않게 Findings를 영어로 채워 주세요. "
    "좌우, 부위, 크기, 변화 여부를 정확히 옮겨 주세요.",
    "영상의학과 전문의의 문체로 {study} Findings를 영어로 작성하세요. "
    "Conclusion에 적힌 병변의 좌우, 부위, 크기를 그대로 쓰고 새로운 병변을 만들어 내지 마세요.",
    "다음 Conclusion을 보고 {study}의 Findings를 영어로 써 주세요. 이상 소견을 먼저 기술하고 관련된 음성 소견을 이어서 "
    "기술해 주세요. 크기와 부위는 Conclusion과 같아야 합니다.",
    "{study} Conclusion이 주어집니다. 각 항목을 Findings 문장으로 풀어 쓰고, 통상적으로 확인하는 정상 소견을 "
    "덧붙이세요. Conclusion에 없는 병변은 쓰지 마세요. 답은 영어로 작성하세요.",
    "판독 결론에서 판독 소견을 되짚어 쓰는 작업입니다. 아래 {study} Conclusion에 대응하는 Findings를 "
    "영어로 작성해 주세요. 좌우나 크기를 바꾸거나 없는 병변을 더하지 마세요.",
)

# --- reports -------------------------------------------------------------------------------------

OTHER_SIDE = {"right": "left", "left": "right", "Right": "Left", "Left": "Right"}
LEAST_IN_CM = 30  # a size from here on is never written in mm
ADVERBS = {"mild": "mildly", "moderate": "moderately"}


@dataclass(frozen=True)
class _Lesion:
    """A fact with the degree and the size as both sections of its report write them."""

    kind: Kind
    fact: Fact
    degree: str
    size: str


def generate(count: int, seed: int) -> list[Report]:
    """Return reports of which no two name the same findings at the same places, so that every text is distinct."""
    rng = random.Random(seed)
    reports: list[Report] = []
    seen: set[frozenset] = set()
    while len(reports) < count:
        study = rng.choice(STUDIES)
        lesions = _draw_lesions(study, rng)
        facts = tuple(lesion.fact for lesion in lesions)
        places = frozenset((fact.finding, fact.side, fact.site) for fact in facts)
        if places not in seen and not _is_implausible(facts):
            seen.add(places)
            reports.append(_write_report(f"radiology-{len(reports) + 1:04d}", study, lesions, rng))
    return reports


def _draw_lesions(study: Study, rng: random.Random) -> list[_Lesion]:
    """Draw one to three findings; in half of the cases each is compared with an earlier study."""
    kinds = rng.sample(study.kinds, rng.choices((1, 2, 3), weights=(35, 40, 25))[0])
    compared = rng.random() < 0.5
    in_unit = rng.choice((_in_mm, _in_cm, _in_mm_or_cm))
    return [_draw_lesion(kind, compared, in_unit, rng) for kind in kinds]


def _draw_lesion(kind: Kind, compared: bool, in_unit: Callable[[float], str], rng: random.Random) -> _Lesion:
    side, site = rng.choice(kind.places)
    size = rng.choice(kind.sizes) if kind.sizes else None
    fact = Fact(kind.finding, side, site, size, rng.choice(kind.changes) if compared else None)
    return _Lesion(kind, fact, rng.choice(kind.degrees), in_unit(size) if size else "")


def _is_implausible(facts: tuple[Fact, ...]) -> bool:
    """Return whether a ureter stone and a hydronephrosis lie on different sides."""
    sides = {fact.side for fact in facts if fact.finding in {"ureter stone", "hydronephrosis"}}
    return len(sides) > 1


def _in_mm(size: float) -> str:
    return f"{size:g} mm" if size < LEAST_IN_CM else _in_cm(size)


def _in_cm(size: float) -> str:
    return f"{size / 10:.1f} cm"


def _in_mm_or_cm(size: float) -> str:
    return _in_mm(size) if size < 10 else _in_cm(size)


def _write_report(report_id: str, study: Study, lesions: list[_Lesion], rng: random.Random) -> Report:
    instruction = rng.choice(INSTRUCTIONS).format(study=study.korean)
    conclusion = _write_conclusion(lesions, rng)
    positives = [_positive(lesion, rng) for lesion in lesions]
    findings = " ".join(positives + _draw_negatives(study, lesions, rng))
    return Report(report_id, study.name, tuple(lesion.fact for lesion in lesions), instruction, conclusion, findings)


def _write_conclusion(lesions: list[_Lesion], rng: random.Random) -> str:
    """Write the impression: mostly a single line for one finding, and a numbered list for several."""
    items = [_impression(lesion, rng) for lesion in lesions]
    if rng.random() < (0.7 if len(items) == 1 else 0.2):
        return " ".join(items)
    mark = rng.choice((".", ")"))
    return "\n".join(f"{number}{mark} {item}" for number, item in enumerate(items, 1))


def _impression(lesion: _Lesion, rng: random.Random) -> str:
    kind = lesion.kind
    pattern = rng.choice(kind.impressions) + _change(CHANGES_IN_CONCLUSION, lesion, rng) + rng.choice(kind.remarks)
    return _fill(pattern, rng.choice(kind.nouns), lesion)


def _positive(lesion: _Lesion, rng: random.Random) -> str:
    pattern = rng.choice(lesion.kind.sentences) + _change(CHANGES_IN_FINDINGS, lesion, rng)
    return _fill(pattern, rng.choice(lesion.kind.terms), lesion)


def _change(phrases: dict[str, tuple[str, ...]], lesion: _Lesion, rng: random.Random) -> str:
    return rng.choice(phrases[lesion.fact.change]) if lesion.fact.change else ""


def _fill(pattern: str, noun: str, lesion: _Lesion) -> str:
    """Return a pattern as a sentence: its fields filled, its articles right, its first letter a capital."""
    fact, side, paired = lesion.fact, lesion.fact.side or "", lesion.fact.side == "bilateral"
    text = pattern.replace("{noun}", noun).format(
        degree=lesion.degree,
        adverb=ADVERBS.get(lesion.degree, ""),
        size=lesion.size,
        measure=lesion.kind.measure,
        site=fact.site,
        side=side,
        short_side=SHORT_SIDES[fact.side],
        place=_place(fact),
        short=_short_place(fact),
        on_side="on both sides" if paired else f"on the {side} side",
        angles="both costophrenic angles" if paired else f"the {side} costophrenic angle",
        apices="both lung apices" if paired else f"the {side} lung apex",
        hemithorax=f"the {side} hemithorax",
        areas="areas" if paired else "an area",
        are="are" if paired else "is",
        shows="show" if paired else "shows",
    )
    text = _with_articles(re.sub(r"\s+", " ", text).strip())
    return f"{_capital(text)}."


def _with_articles(text: str) -> str:
    """Put "an" before a vowel and before eight, eleven and eighteen, and "a" elsewhere."""
    return re.sub(
        r"\b([Aa])n? (?=(\S+))",
        lambda match: f"{match[1]}{'n' if re.match(r'[aeio]|8|1[18](?![.0-9])', match[2]) else ''} ",
        text,
    )


def _draw_negatives(study: Study, lesions: list[_Lesion], rng: random.Random) -> list[str]:
    """Draw negatives that fit the positive findings and do not repeat one another, in the order of the study."""
    present = {lesion.fact.finding for lesion in lesions}
    fitting = [negative for negative in study.negatives if negative.fits(present)]
    wanted = rng.randint(1, min(4, 6 - len(lesions)))
    chosen: list[Negative] = []
    for negative in rng.sample(fitting, len(fitting)):
        if len(chosen) < wanted and not any(negative.rules_out & other.rules_out for other in chosen):
            chosen.append(negative)
    return [rng.choice(negative.phrases) for negative in fitting if negative in chosen]


# --- planted errors ------------------------------------------------------------------------------


def applicable_kinds(report: Report) -> tuple[str, ...]:
    """Return the kinds of error that can be planted in a report's findings."""
    return tuple(kind for kind in ERROR_KINDS if _candidates(report, kind))


def plant_error(report: Report, kind: str, rng: random.Random) -> str:
    """Return the findings with exactly one error of a kind: the other side, another lobe or size, or a finding more.

    Raises:
        ValueError: the kind does not apply to this report.
    """
    candidates = _candidates(report, kind)
    if not candidates:
        raise ValueError(f"No error of the kind {kind!r} can be planted in {report.id}.")
    chosen = rng.choice(candidates)
    sentences = _split(report.findings)
    if isinstance(chosen, Kind):
        sentences.insert(rng.randint(0, len(report.facts)), _invented_sentence(report, chosen, rng))
    else:
        right, wrong = chosen
        sentences = [_rewrite(text, right, wrong) if facts_in(text) == {right} else text for text in sentences]
    return " ".join(sentences)


def _candidates(report: Report, kind: str) -> list[tuple[Fact, Fact]] | list[Kind]:
    """Return the possible errors of a kind: facts with their wrong twins, or findings that could be invented."""
    if kind == "invented_finding":
        return _inventions(report)
    wrong_twins = {"side": _other_sides, "lobe": _other_lobes, "size": _other_sizes}[kind]
    study = _study_of(report)
    return [(fact, twin) for fact in report.facts for twin in wrong_twins(fact, study.kind_of(fact.finding))]


def _study_of(report: Report) -> Study:
    return next(study for study in STUDIES if study.name == report.study)


def _other_sides(fact: Fact, kind: Kind) -> list[Fact]:
    """Return the fact on the other side, where the finding can be there."""
    other = OTHER_SIDE.get(fact.side or "")
    return [replace(fact, side=other)] if other and (other, fact.site) in kind.places else []


def _other_lobes(fact: Fact, kind: Kind) -> list[Fact]:
    """Return the fact in each other lobe (or lung zone of a radiograph) of its side; a segment counts as its lobe."""
    lobe = fact.site.rpartition(" of ")[2]
    others = [site for side, site in kind.places if side == fact.side and site in LOBES - {lobe}]
    return [replace(fact, site=site) for site in others] if lobe in LOBES else []


def _other_sizes(fact: Fact, kind: Kind) -> list[Fact]:
    """Return the fact in each size that is at least 1.5 times larger or smaller and is written in the same unit."""
    if fact.size_mm is None:
        return []
    sizes = [size for size in kind.sizes if fact.size_mm >= LEAST_IN_CM or size < LEAST_IN_CM]
    return [replace(fact, size_mm=size) for size in sizes if max(size, fact.size_mm) >= 1.5 * min(size, fact.size_mm)]


def _inventions(report: Report) -> list[Kind]:
    """Return the findings that a report neither has nor rules out, each with the sites that the report has not."""
    study, sites = _study_of(report), {fact.site for fact in report.facts}
    stated = set(_split(report.findings))
    ruled_out = {finding for negative in study.negatives if stated & {*negative.phrases} for finding in negative.rules_out}
    taken = ruled_out | {fact.finding for fact in report.facts}
    free = [
        replace(kind, places=tuple(place for place in kind.places if place[1] not in sites))
        for kind in study.kinds
        if kind.finding not in taken
    ]
    return [kind for kind in free if kind.places]


def _invented_sentence(report: Report, kind: Kind, rng: random.Random) -> str:
    compared = any(fact.change for fact in report.facts)
    return _positive(_draw_lesion(kind, compared, _in_cm if " cm" in report.findings else _in_mm, rng), rng)


def _rewrite(sentence: str, right: Fact, wrong: Fact) -> str:
    """Return a sentence with the side, the place or the size of one fact replaced by that of its wrong twin."""
    if right.side != wrong.side:
        return re.sub(r"\b(?:[Rr]ight|[Ll]eft)\b", lambda match: OTHER_SIDE[match[0]], sentence)
    if right.site != wrong.site:
        old, new = _place(right), _place(wrong)
        return sentence.replace(old, new).replace(_capital(old), _capital(new))
    in_unit = _in_cm if _in_cm(right.size_mm) in sentence else _in_mm
    return _with_articles(sentence.replace(in_unit(right.size_mm), in_unit(wrong.size_mm)))


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _split(findings: str) -> list[str]:
    return re.split(r"(?<=\.) ", findings)


# --- files ---------------------------------------------------------------------------------------


def write(folder: Path | str, seed: int) -> None:
    """Write the training, test and preference files; the pairs come from training reports, each used once at most."""
    folder = Path(folder)
    reports = generate(TRAIN_ROWS + TEST_ROWS, seed)
    train, test = reports[:TRAIN_ROWS], reports[TRAIN_ROWS:]
    write_jsonl(folder / "radiology_train.jsonl", [_row(report) for report in train])
    write_jsonl(folder / "radiology_test.jsonl", [_row(report) for report in test])
    write_jsonl(folder / "radiology_preference.jsonl", _preference_rows(train, random.Random(f"preference {seed}")))
    # the test as the hospital's system takes it in: without its findings
    write_sheet(folder / "radiology_test.xlsx", ["No.", "Conclusion", "SystemPrompt"], [_excel_row(r) for r in test])


def _row(report: Report) -> dict[str, str]:
    return {
        "id": report.id,
        "instruction": report.instruction,
        "input": report.conclusion,
        "output": report.findings,
    }


def _preference_rows(reports: list[Report], rng: random.Random) -> list[dict[str, str]]:
    """Pair the findings of reports with findings that hold one planted error, as many of each kind."""
    left = rng.sample(reports, len(reports))
    rows = []
    for kind in ("lobe", "side", "size", "invented_finding"):  # the rarest first
        chosen = [report for report in left if kind in applicable_kinds(report)][:PAIRS_OF_A_KIND]
        left = [report for report in left if report not in chosen]
        rows += [_pair(report, kind, rng) for report in chosen]
    rng.shuffle(rows)
    return rows


def _pair(report: Report, kind: str, rng: random.Random) -> dict[str, str]:
    return {
        "id": report.id,
        "prompt": f"{report.instruction}\n\n{report.conclusion}",
        "chosen": report.findings,
        "rejected": plant_error(report, kind, rng),
        "kind": kind,
    }


def _excel_row(report: Report) -> dict[str, str]:
    return {"No.": report.id, "Conclusion": report.conclusion, "SystemPrompt": report.instruction}


if __name__ == "__main__":
    write(DATA / "radiology", seed=SEED)
