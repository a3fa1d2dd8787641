package tracetext

import (
	"fmt"
	"strings"

	"hoplite/mail"
	"hoplite/mail/story"
)

// storyIndent is the width of the labels of a story.
const storyIndent = 12

// List prints one line for each record of history.
func List(s *Screen, found []story.Entry) {
	for i, t := range story.Tell(found, story.Everything) {
		r := &found[i]
		to := "(no recipient)"
		if len(r.To) > 0 {
			to = "<" + r.To[0] + ">"
		}
		if len(r.To) > 1 {
			to += fmt.Sprintf(" +%d", len(r.To)-1)
		}
		s.wrapped(fmt.Sprintf("%s %s ", r.At.Local().Format("2006-01-02 15:04:05"), s.words(t.ID)), 20,
			fmt.Sprintf("<%s> %s %s %s", r.From, s.arrow(), to, t.Title))
	}
}

// Story prints the story of one message.
func Story(s *Screen, t *story.Story) {
	s.wrapped(s.paint(bold, s.words(t.ID))+" ", storyIndent, t.Title)
	s.wrapped("  at        ", storyIndent, t.At.Local().Format("2006-01-02 15:04:05 -0700"))
	for _, l := range t.Lines {
		colour := map[story.State]string{story.Good: green, story.Bad: red}[l.State]
		s.wrapped("  "+s.paint(colour, fmt.Sprintf("%-9s", s.words(l.Label)))+" ", storyIndent, l.Text)
		for _, m := range l.Means {
			meaning(s, mail.Meaning{Code: m.Code, Title: m.Title, Why: m.Why, Next: m.Next})
		}
	}
}

// meaning prints the meaning of a reply code.
func meaning(s *Screen, m mail.Meaning) {
	text := m.Title
	if len(m.Why) > 0 {
		text += ": " + strings.Join(m.Why, "; ")
	}
	s.wrapped("    "+fmt.Sprintf("%-7s", m.Code), 11, text)
	if m.Next != "" {
		s.wrapped("    next   ", 11, m.Next)
	}
}
