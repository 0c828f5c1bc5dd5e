"""What the chat page says, in Korean and English."""

from __future__ import annotations

import errno
from dataclasses import dataclass


@dataclass(frozen=True)
class Texts:
    """The page's texts in one language; {fields} are filled in by the page."""

    compare: str
    compare_about: str
    model_about: str
    roles: dict[str, str]  # what a model is for -> one sentence on it
    jobs: dict[str, str]  # a job -> its name in the list
    job_compare: str
    job_compare_about: str
    job_starters: dict[str, tuple[tuple[str, str], ...]]
    record_head: tuple[str, str]
    record_fields: dict[str, str]  # a field of a listing's record -> its name in the table
    record_nothing: str
    record_yes: str
    record_no: str
    no_record: str
    wrong_field: str
    settings: dict[str, str]  # a setting's id -> its label
    about: dict[str, str]  # a setting's id -> what it does
    rankings: dict[str, str]  # how passages are found -> one sentence on it
    starters: tuple[tuple[str, str], ...]  # (label, message)
    footer: str
    cut: str
    sources: str
    no_sources: str
    forgotten: str
    show_sources: str
    vote: str
    vote_first: str
    vote_second: str
    vote_tie: str
    voted: str
    voted_already: str
    not_stored: str
    stopped: str
    problem: str
    problems: dict[str, str]  # a kind of error (`page_problems`) -> its sentence; none where an error's own will do
    file_problems: dict[int | None, str]  # an errno, None for all others -> why a file could not be written; none likewise
    fault: str
    too_long: str
    system_too_long: str
    empty: str


KOREAN = Texts(
    compare="나란히 비교 (눈가림 투표)",
    compare_about="**{a}** 모델과 **{b}** 모델이 같은 질문에 답합니다. 어느 쪽이 누구인지는 투표한 뒤에 보여 드립니다. "
    "앞의 대화는 보지 않고 질문마다 새로 답합니다.",
    model_about="**{model}** 모델이 답합니다.",
    roles={
        "base": "미세조정을 하기 전의 베이스 모델이며, 질문에 답하기보다 글을 이어 씁니다.",
        "tuned": "부동산 질문에 대답하는 말투를 배운 모델이며, 내용은 사실과 다를 수 있습니다.",
        "listings": "매물 광고를 붙여 넣으면 13개 항목의 표로 정리하며, 다른 질문에는 답하지 못합니다.",
        "radiology": "판독 결론(Conclusion)을 넣으면 판독 소견(Findings)을 영어로 쓰며, 합성 자료로 배운 실습용이어서 "
        "진료에는 쓸 수 없습니다.",
    },
    jobs={"listings": "매물 정리", "radiology": "판독 소견 쓰기"},
    job_compare="{job}: 나란히 비교 (눈가림 투표)",
    job_compare_about="미세조정한 **{a}** 모델과 베이스 모델 **{b}**에게 같은 지시문으로 같은 글을 맡깁니다. 어느 쪽이 "
    "누구인지는 투표한 뒤에 보여 드립니다.",
    job_starters={
        "listings": (
            (
                "월세 광고",
                "[월세] 망원동 투룸 반지하 급구합니다!! 보증금 5백에 40 (관리비 5만, 수도 포함)\n실평 12평, 화장실 1개, "
                "망원역 도보 5분. 고양이 괜찮아요. 5월 말 입주, 날짜는 조금 조율돼요",
            ),
            (
                "전세 광고",
                "마포구 연남동 빌라 전세 2억 3천에 내놓습니다.\n방 2개 화장실 1개, 전용 49.5㎡, 5층 중 3층이고 관리비는 "
                "7만 원이에요.\n즉시 입주 가능하고 반려동물은 안 됩니다.",
            ),
        ),
        "radiology": (
            ("판독 결론 예시", "1) Pneumonia in Rt. lower lung field.\n2) Small amount of left pleural effusion."),
        ),
    },
    record_head=("항목", "내용"),
    record_fields={
        "deal": "거래 종류",
        "kind": "건물 종류",
        "place": "위치",
        "deposit": "보증금 (만원)",
        "rent": "월세 (만원)",
        "price": "매매가 (만원)",
        "area": "전용면적",
        "floor": "층",
        "rooms": "방 수",
        "bathrooms": "화장실 수",
        "maintenance": "관리비 (만원)",
        "pets": "반려동물",
        "available": "입주 시기",
    },
    record_nothing="-",
    record_yes="가능",
    record_no="불가",
    no_record="표로 정리하지 못했습니다. 답변이 13개 항목을 담은 JSON 한 줄이 아닙니다.",
    wrong_field="표로 정리하지 못했습니다. '{field}' 항목이 빠졌거나, 제자리에 없거나, 값이 규칙에 맞지 않습니다.",
    settings={
        "choice": "검사 종류",
        "temperature": "온도",
        "top_p": "누적 확률 (top-p)",
        "top_k": "후보 수 (top-k, 0은 전체)",
        "repetition_penalty": "반복 억제 (repetition penalty)",
        "max_tokens": "답변의 최대 길이 (토큰)",
        "system": "시스템 문구",
        "use_documents": "문서에서 찾아 답하기",
    },
    about={
        "temperature": "0이면 언제나 가장 그럴듯한 낱말을 고릅니다.",
        "system": "첫 질문 앞에 붙는 지시입니다. 비워 두어도 됩니다.",
        "use_documents": "질문과 가까운 문서를 골라 함께 보여 주고 답하게 합니다.",
    },
    rankings={
        "bm25": "질문과 낱말이 겹치는 문서를 찾습니다(BM25).",
        "embeddings": "질문과 뜻이 가까운 문서를 찾습니다(문장 임베딩).",
        "fused": "낱말로 매긴 순위(BM25)와 뜻으로 매긴 순위(문장 임베딩)를 합쳐서 찾습니다.",
    },
    starters=(
        ("전세와 월세", "전세와 월세의 가장 큰 차이를 알려 주세요."),
        ("확정일자", "확정일자는 어디에서 받을 수 있나요?"),
        ("근저당권", "등기부에 적힌 근저당권은 무엇을 뜻하나요?"),
        ("보일러 고장", "보일러가 고장 났다고 집주인에게 알리는 짧은 문자를 써 주세요."),
    ),
    footer="{model} · {tokens}토큰 · {seconds:.1f}초",
    cut="길이 제한에서 잘림",
    sources="참고한 문서: {titles}",
    no_sources="질문과 맞는 문서를 찾지 못해 문서 없이 답했습니다.",
    forgotten="대화가 길어 앞의 {turns}번은 빼고 답했습니다.",
    show_sources="문서 보기",
    vote="어느 답변이 더 낫습니까?",
    vote_first="A가 낫다",
    vote_second="B가 낫다",
    vote_tie="비슷하다",
    voted="저장했습니다. A는 **{first}**, B는 **{second}** 모델이었습니다.",
    voted_already="이 질문에는 이미 투표하셨습니다.",
    not_stored="투표를 저장하지 못했습니다 ({reason}). 다시 눌러 주세요.",
    stopped="멈췄습니다.",
    problem="답하지 못했습니다. {sentence}",
    problems={
        "busy": "지금은 빈자리가 없습니다. {seconds}초쯤 뒤에 다시 물어 주세요.",
        "prompt_too_long": "질문과 답변이 모델이 한 번에 읽을 수 있는 길이를 넘습니다. 질문을 줄이거나 "
        "설정에서 답변의 최대 길이를 낮춰 주세요.",
        "too_late": "제시간에 답변을 마치지 못했습니다. 더 짧은 답변을 부탁해 보세요.",
        "closing": "서버가 끝나는 중입니다. 서버를 다시 켠 뒤에 물어 주세요.",
        "unknown_model": "고르신 모델이 이 서버에 없습니다. 페이지를 새로 고쳐 주세요.",
        "backend_down": "모델이 응답하지 않습니다. 잠시 뒤에 다시 물어 보시고, 계속되면 서버 관리자에게 알려 주세요.",
        "backend_broke_off": "모델이 답변을 끝까지 쓰지 못했습니다. 다시 물어 주세요.",
        "backend": "모델에 문제가 생겼습니다. 다시 물어 보시고, 계속되면 서버 관리자에게 알려 주세요.",
        "refused": "모델이 이 질문을 받아들이지 않았습니다. 질문이나 설정을 바꾸어 보세요.",
    },
    file_problems={
        errno.ENOSPC: "디스크가 가득 찼습니다",
        errno.EDQUOT: "디스크 사용 한도를 넘었습니다",
        errno.EFBIG: "파일이 너무 큽니다",
        errno.EACCES: "파일에 쓸 권한이 없습니다",
        errno.EPERM: "파일에 쓸 권한이 없습니다",
        errno.EROFS: "읽기만 할 수 있는 디스크입니다",
        errno.EISDIR: "파일 자리에 폴더가 있습니다",
        errno.ENOTDIR: "폴더 자리에 파일이 있습니다",
        None: "저장할 파일에 문제가 있습니다",
    },
    fault="서버에 문제가 생겨 답하지 못했습니다. 다시 물어 보시고, 계속되면 서버 관리자에게 알려 주세요.",
    too_long="질문이 {limit}자를 넘습니다. 줄여 주세요.",
    system_too_long="시스템 문구가 {limit}자를 넘습니다. 설정에서 줄여 주세요.",
    empty="(빈 답변)",
)

ENGLISH = Texts(
    compare="Side by side (blind vote)",
    compare_about="**{a}** and **{b}** answer the same question. Which is which is shown once you have voted. "
    "Each question is answered by itself, without those before it.",
    model_about="**{model}** answers.",
    roles={
        "base": "The base model before fine-tuning; it goes on with a text rather than answering a question.",
        "tuned": "Has learnt in which tone questions on housing are answered; its facts may be wrong.",
        "listings": "Puts the advertisement of a Korean property into a record of 13 fields, and answers nothing else.",
        "radiology": "Writes the findings of a radiology report from its conclusion, in English; trained on synthetic "
        "reports for practice, and not for patients.",
    },
    jobs={"listings": "Listings", "radiology": "Radiology findings"},
    job_compare="{job}: side by side (blind vote)",
    job_compare_about="The tuned **{a}** and the base **{b}** get the same text with the same instruction. Which is which "
    "is shown once you have voted.",
    job_starters=KOREAN.job_starters,
    record_head=("Field", "Value"),
    record_fields={
        "deal": "Deal",
        "kind": "Kind",
        "place": "Place",
        "deposit": "Deposit (10,000 won)",
        "rent": "Rent (10,000 won)",
        "price": "Price (10,000 won)",
        "area": "Area",
        "floor": "Floor",
        "rooms": "Rooms",
        "bathrooms": "Bathrooms",
        "maintenance": "Maintenance (10,000 won)",
        "pets": "Pets",
        "available": "Available",
    },
    record_nothing="-",
    record_yes="yes",
    record_no="no",
    no_record="No table: the answer is not one line of JSON with the 13 fields.",
    wrong_field="No table: the field '{field}' is missing, out of its place, or has a value against the rules.",
    settings={
        "choice": "Study",
        "temperature": "Temperature",
        "top_p": "Nucleus (top-p)",
        "top_k": "Candidates (top-k, 0 for all)",
        "repetition_penalty": "Repetition penalty",
        "max_tokens": "Longest answer (tokens)",
        "system": "System text",
        "use_documents": "Answer from the documents",
    },
    about={
        "temperature": "At 0 the likeliest word is always taken.",
        "system": "Stands before the first question. May stay empty.",
        "use_documents": "Passages close to the question are shown to the model with it.",
    },
    rankings={
        "bm25": "They are found by the words that they share with it (BM25).",
        "embeddings": "They are found by their meaning (sentence embeddings).",
        "fused": "They are found by shared words (BM25) and by meaning (sentence embeddings), both rankings fused.",
    },
    starters=KOREAN.starters,
    footer="{model} · {tokens} tokens · {seconds:.1f} s",
    cut="cut at the limit",
    sources="Sources: {titles}",
    no_sources="No document fits the question; the answer was given without.",
    forgotten="The conversation is long; the answer leaves out its first {turns} turns.",
    show_sources="Show the sources",
    vote="Which answer is better?",
    vote_first="A is better",
    vote_second="B is better",
    vote_tie="About the same",
    voted="Stored. A came from **{first}**, B from **{second}**.",
    voted_already="You have voted on this question already.",
    not_stored="The vote could not be stored ({reason}). Press again.",
    stopped="Stopped.",
    problem="No answer: {sentence}",
    problems={},
    file_problems={},
    fault="No answer: the server has a fault. Ask again; if it stays, tell whoever runs the server.",
    too_long="The question is longer than {limit} characters; shorten it.",
    system_too_long="The system text is longer than {limit} characters; shorten it in the settings.",
    empty="(an empty answer)",
)


def texts(language: str | None) -> Texts:
    """Return the texts for a browser's language: Korean for ko, English for all others."""
    return KOREAN if (language or "").lower().startswith("ko") else ENGLISH
