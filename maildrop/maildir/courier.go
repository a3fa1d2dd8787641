package maildir

import (
	"strconv"
	"strings"
)

// The names of Courier's files in a folder.
const (
	CourierSizesFile    = "courierpop3dsizelist"
	CourierKeywordsDir  = "courierimapkeywords"
	CourierKeywordsFile = ":list"
)

// ParseCourierSizes parses a courierpop3dsizelist and returns each message's
// POP3 UIDL by base name. After a header line "/2 ...", each line has the form
// "name size uid:uidvalidity". The UIDL of a message without a UID is its file
// name.
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

// ParseCourierKeywords parses the :list file in courierimapkeywords: one
// keyword per line, an empty line, and "name:number number ..." for each
// message that has keywords.
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
