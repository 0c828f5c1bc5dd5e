// What the search page says; Sphinx's own Korean has no words for the number of pages found.
Documentation.addTranslations({
  locale: "ko",
  messages: {
    "Search": "검색",
    "Searching": "찾는 중",
    "Preparing search...": "검색을 준비하고 있습니다…",
    "Search Results": "검색 결과",
    "Search finished, found one page matching the search query.": ["페이지 ${resultCount}개를 찾았습니다."],
    "Your search did not match any documents. Please make sure that all words are spelled correctly and that you've selected enough categories.":
      "찾는 말이 들어 있는 페이지가 없습니다. 철자를 확인하거나 더 짧은 말로 찾아 보세요.",
    "Hide Search Matches": "찾은 말 표시 지우기",
    ", in ": ", 문서: ",
  },
  plural_expr: "0",
});
