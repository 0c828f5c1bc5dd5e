"""The figures of the lessons: canvas, drawings, words and facts."""
