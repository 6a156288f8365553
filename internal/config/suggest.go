package config

import "fmt"

// maxSuggest is the length in bytes above which a word is no mistyped name.
const maxSuggest = 64

// DidYouMean gives ", did you mean X?" for the candidate nearest to a mistyped
// word, or "" if none is near.
func DidYouMean(word string, candidates []string) string {
	if len(word) > maxSuggest {
		return ""
	}
	best, nearest := "", 1+max(1, len(word)/3)
	for _, c := range candidates {
		if d := distance(word, c); d < nearest {
			best, nearest = c, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %s?", best)
}

// distance is the number of single-byte insertions, deletions, replacements and
// swaps of neighbours that turn a into b (optimal string alignment).
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range len(b) + 1 {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
