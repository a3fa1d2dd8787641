package conf

import (
	"slices"
	"strings"
)

// Suggest returns the known word that is most similar to word, or "" if none is
// similar.
func Suggest(word string, known []string) string {
	best, bestDist := "", len(word)/3+2
	for _, k := range known {
		if d := distance(strings.ToLower(word), strings.ToLower(k)); d < bestDist && d < max(len(word), len(k)) {
			best, bestDist = k, d
		}
	}
	return best
}

// didYouMean returns a sentence that suggests the most similar word, or lists all
// of them.
func didYouMean(word string, known []string) string {
	if s := Suggest(word, known); s != "" {
		return `Did you mean "` + s + `"?`
	}
	if len(known) == 0 {
		return ""
	}
	sorted := slices.Sorted(slices.Values(known))
	return "Known: " + strings.Join(sorted, ", ") + "."
}

// Known returns the hint for an unknown name: the most similar known name, or
// all of them; if known is empty, it returns none.
func Known(word string, known []string, none string) string {
	if s := didYouMean(word, known); s != "" {
		return s
	}
	return none
}

// distance returns the number of letters to insert, delete, replace or swap to
// change a into b.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	prev2, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
}
