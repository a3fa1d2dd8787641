package maildir

import (
	"strconv"
	"strings"
)

// The names of Courier's own files in a folder.
const (
	CourierSizesFile    = "courierpop3dsizelist"
	CourierKeywordsDir  = "courierimapkeywords"
	CourierKeywordsFile = ":list"
)

// ParseCourierSizes reads a courierpop3dsizelist: what each message is called
// on POP3, by base name. Its lines are "name size uid:uidvalidity" behind a
// header of "/2 ..."; a message without a UID is called by its file name.
func ParseCourierSizes(text string) map[string]string {
	head, rest, _ := strings.Cut(text, "\n")
	if !strings.HasPrefix(head, "/") {
		return nil
	}
	names := map[string]string{}
	for line := range strings.Lines(rest) {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		base := Base(f[0])
		num, validity, ok := strings.Cut(f[2], ":")
		uid, err := strconv.ParseUint(num, 10, 32)
		switch {
		case err != nil:
		case uid == 0:
			names[base] = base
		case ok:
			names[base] = "UID" + num + "-" + validity
		}
	}
	return names
}

// ParseCourierKeywords reads the :list file of courierimapkeywords: the
// keywords, one a line, an empty line, then "name:number number ..." for each
// message that has some.
func ParseCourierKeywords(text string) (names []string, byBase map[string][]int) {
	head, rest, _ := strings.Cut(text, "\n\n")
	for line := range strings.Lines(head) {
		names = append(names, strings.TrimSpace(line))
	}
	byBase = map[string][]int{}
	for line := range strings.Lines(rest) {
		base, list, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			continue
		}
		for num := range strings.FieldsSeq(list) {
			if n, err := strconv.Atoi(num); err == nil && n >= 0 && n < len(names) {
				byBase[base] = append(byBase[base], n)
			}
		}
	}
	return names, byBase
}
