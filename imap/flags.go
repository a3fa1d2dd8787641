package imap

import (
	"strings"

	"hoplite/maildrop"
)

// systemFlags lists the flags that every mailbox supports, in the order used by
// FLAGS.
var systemFlags = []struct {
	flag maildrop.Flags
	name string
}{
	{maildrop.Answered, `\Answered`},
	{maildrop.Flagged, `\Flagged`},
	{maildrop.Deleted, `\Deleted`},
	{maildrop.Seen, `\Seen`},
	{maildrop.Draft, `\Draft`},
}

// flagTexts holds the text of every combination of system flags.
var flagTexts = func() (t [32]string) {
	for set := range t {
		var names []string
		for _, f := range systemFlags {
			if maildrop.Flags(set)&f.flag != 0 {
				names = append(names, f.name)
			}
		}
		t[set] = strings.Join(names, " ")
	}
	return t
}()

// flagNames lists the system flags and the keywords of a mailbox.
func flagNames(keywords []string) string {
	var b strings.Builder
	b.WriteString(flagTexts[31])
	for _, k := range keywords {
		if k != "" {
			b.WriteString(" " + k)
		}
	}
	return b.String()
}

// parseFlags separates flags from the wire into system flags and keywords.
// \Recent, which clients cannot set, and other names with a backslash are
// refused.
func parseFlags(names []string) (flags maildrop.Flags, keywords []string, err error) {
	for _, n := range names {
		if !strings.HasPrefix(n, `\`) {
			keywords = append(keywords, n)
			continue
		}
		f := systemFlag(n)
		if f == 0 {
			return 0, nil, badf("Unknown flag %s", n)
		}
		flags |= f
	}
	return flags, keywords, nil
}

// systemFlag returns the flag with the given name, ignoring case, or 0 if there
// is none.
func systemFlag(name string) maildrop.Flags {
	for _, f := range systemFlags {
		if strings.EqualFold(f.name, name) {
			return f.flag
		}
	}
	return 0
}
