"""Protects: particles are judged as a Korean reader would, on brands, prices, names, acronyms and the longer pairs, and fast."""

import random
import time

import pytest

from kotune.korean.particles import particle_errors, sounds_after


def named(text):
    return [(error.found, error.right) for error in particle_errors(text)]


# --- words that only look like a noun with a particle ----------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "반포자이 시세가 궁금합니다.", "서초자이 살기 좋나요?", "마포자이 33평", "입찰가 산정 방법", "자산가 고객이 삽니다.", "분양가 상한제를 봅니다.", "낙찰가 계산",
        "제조원가 상승", "주택가 소음", "카카오페이 결제", "두바이 여행", "디스플레이 크기", "추이 분석", "산책로 입구", "청담로 근처", "종로3가 근처", "을지로 3가 12",
        "재산세과 담당자에게 묻습니다.", "서면-2020-부동산-3583(부동산납세과-1478)", "소아과 진료", "움직이며 봅니다.", "고장나 수리합니다.", "병든 나무를 벱니다.",
        "있든 없든 같습니다.", "신랑 신부가 옵니다.", "기입란 작성은 필수입니다.", "혼란 속에서 찾는 뜻", "전라도 음식을 먹습니다.", "먹으라고 합니다.", "컵라면 하나",
    ],
)  # fmt: skip
def test_brands_prices_streets_offices_and_verbs_are_left_alone(text):
    assert named(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "연락이 안와 답답합니다.", "비가 많이 와서", "젓가락으로 집는 법", "저울에 소금을 집는 힘", "지은 지 오래된 집", "이은 선을 봅니다.", "보은 시내",
        "배우 정가은 소식", "신고은 씨가 신고합니다.", "이지은 지음", "누가 임차인인가?", "이 사람이 임차인가?", "임대인가 매매인가 고릅니다.", "조합설립인가 신청",
        "본인가 심사를 받습니다.", "어느 쪽이 법인가 하는 물음",
    ],
)  # fmt: skip
def test_verbs_names_and_questions_are_left_alone(text):
    assert named(text) == []


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("임대인가 보증금을 돌려줍니다.", "임대인이"), ("임차인가 신고합니다.", "임차인이"), ("집주인가 바뀌면 알립니다.", "집주인이"), ("법인가 사면 다릅니다.", "법인이"),
        ("전세은 목돈이 듭니다.", "전세는"), ("주소은 바뀌었습니다.", "주소는"), ("신고은 30일 안에 합니다.", "신고는"), ("세입자이 나갑니다.", "세입자가"),
        ("집는 넓습니다.", "집은"), ("동일세대원가 상속합니다.", "동일세대원이"), ("식사과 함께", "식사와"), ("추징일가 지나면", "추징일이"),
        ("상속할 수은 없습니다.", "수는"), ("기본적로 같습니다.", "기본적으로"), ("2층로 옮깁니다.", "2층으로"), ("3년가 되는 날", "3년이"), ("4호은 2022년부터", "4호는"),
        ("(부칙 제3조)에은 없습니다.", "에는"),
    ],
)  # fmt: skip
def test_wrong_particles_are_found_where_the_word_is_surely_a_noun(text, right):
    (error,) = particle_errors(text)
    assert error.right == right


# --- the longer pairs --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("전세이나 월세를 고릅니다.", "전세나"), ("임대인나 임차인이 신고합니다.", "임대인이나"), ("전세이란 무엇인가요?", "전세란"), ("대항력란 무엇인가요?", "대항력이란"),
        ("이를 대항력라고 합니다.", "대항력이라고"), ("이를 월세이라고 부릅니다.", "월세라고"), ("임대인라는 말", "임대인이라는"), ("전세이라는 제도", "전세라는"),
        ("확정일자이에요.", "확정일자예요"), ("보증금예요.", "보증금이에요"), ("3억예요.", "3억이에요"), ("친구이랑 삽니다.", "친구랑"), ("집주인랑 통화했습니다.", "집주인이랑"),
        ("보증금며 월세며 다 냅니다.", "보증금이며"), ("임대인든 누구든", "임대인이든"), ("집주인라도 안 됩니다.", "집주인이라도"),
    ],
)  # fmt: skip
def test_the_longer_pairs_are_covered(text, right):
    (error,) = particle_errors(text)
    assert error.right == right


@pytest.mark.parametrize(
    "text",
    [
        "임대인이나 임차인", "전세나 월세", "차이란 무엇인가요?", "아이란 무엇인가요?", "이란 제재", "아이랑 삽니다.", "고양이예요.", "아이예요.", "의사이며 교수입니다.",
        "주택이든 토지이든 같습니다.", "이 집은 아파트이나 작습니다.", "확정일자예요.", "보증금이에요.", "이를 전세라고 합니다.", "대항력이라는 힘", "집주인이라도",
    ],
)  # fmt: skip
def test_the_longer_pairs_are_left_alone_where_they_fit_or_may(text):
    assert named(text) == []


# --- letters, numbers, brackets ----------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "DSR는 DSR은 DSR을 DSR를", "AIR는 AIR은", "APP은 APP는 UP은 UP는", "GAP을 GAP를", "ZIP은 ZIP는", "5kg을 5kg를", "1/2을 상속합니다.", "1/2를 상속합니다.",
        "OOO은 OO이 xxx과", "%s이 %1을 {0}를 'a.b'은", "https://a.b/fhs을", "--files0-from와", "Google은 Google는", "제3조의2를 봅니다.", "1조를 넘습니다.",
        "매매 서류 (BOM)와 함께", "‘산식’(이하 ‘이 사건 산식’이라 한다)은", "3.5억을 G20을 A4를 A4을",
    ],
)  # fmt: skip
def test_what_can_be_read_in_two_ways_is_left_in_doubt(text):
    assert named(text) == []


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("Excel를 엽니다.", "Excel을"), ("Windows을 켭니다.", "Windows를"), ("Linux을 씁니다.", "Linux를"), ("Zoom를 켭니다.", "Zoom을"), ("HUG이 보증합니다.", "HUG가"),
        ("SMS을 보냅니다.", "SMS를"), ("DSR으로 잽니다.", "DSR로"), ("URL를 엽니다.", "URL을"), ("30%p이 올랐습니다.", "30%p가"), ("1,000,000,000,000을", "1,000,000,000,000를"),
    ],
)  # fmt: skip
def test_letters_with_one_reading_are_judged(text, right):
    (error,) = particle_errors(text)
    assert error.right == right


def test_r_is_read_in_two_ways_and_a_fraction_from_either_end():
    assert sounds_after("DSR") == {"vowel", "rieul"} and sounds_after("1/2") == {"rieul", "vowel"}
    assert sounds_after("LTV") == {"vowel"} and sounds_after("%s") == set()


# --- time --------------------------------------------------------------------------------------

MEGABYTE = 1_000_000
HOSTILE = [
    "은행", "가" + " " * 40, "1는 ", "1,", "\n", "“", "(가)은 ", ")은 ", "“가”은", "집는 ", "임대인가 ", "전세이나 월세를 ", "대항력란 ", "김지은 ", "A가", "*", "가.", "1/", "Excel를 ",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("piece", [*HOSTILE, None])
def test_a_megabyte_of_anything_takes_a_second_or_so(piece):
    rng = random.Random(0)
    text = "".join(rng.choices("은는이가을를로나란며 1,.()“”aR\n집세인", k=MEGABYTE)) if piece is None else piece * MEGABYTE
    text = text.encode()[:MEGABYTE].decode(errors="ignore") + "가"
    started = time.process_time()
    for _ in particle_errors(text):
        pass
    assert time.process_time() - started < 5
