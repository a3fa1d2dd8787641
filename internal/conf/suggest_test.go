package conf

import "testing"

func TestSuggest(t *testing.T) {
	known := []string{"hostname", "listen", "chain", "max_size", "tls", "auth", "DKIM"}
	for _, c := range []struct{ word, want string }{
		{"hostnme", "hostname"},   // a letter is missing
		{"hostnamee", "hostname"}, // one letter too many
		{"hostnane", "hostname"},  // replaced
		{"hsotname", "hostname"},  // swapped
		{"HOSTNAME", "hostname"},  // case is ignored
		{"dkim", "DKIM"},          // case is ignored in both words
		{"lisen", "listen"},
		{"maxsize", "max_size"},
		{"max_szie", "max_size"},
		{"tsl", "tls"},
		{"aut", "auth"},
		{"listen", "listen"}, // the word itself is known
		{"zebra", ""},        // nothing is similar
		{"x", ""},
		{"", ""},
		{"authentication", ""}, // too many letters differ
		{"greylisting_delay", ""},
		{"chan", "chain"},
		{"hostname.example", ""},
		{"max_size_of_a_mail", ""},
	} {
		if got := Suggest(c.word, known); got != c.want {
			t.Errorf("Suggest(%q) = %q, want %q", c.word, got, c.want)
		}
	}
	if got := Suggest("hostname", nil); got != "" {
		t.Errorf("without known words: %q", got)
	}
}

func TestKnown(t *testing.T) {
	for _, c := range []struct {
		word  string
		known []string
		want  string
	}{
		{"inbuond", []string{"inbound", "submission"}, `Did you mean "inbound"?`},
		{"zebra", []string{"submission", "inbound"}, "Known: inbound, submission."},
		{"zebra", nil, "No chain is configured."},
	} {
		if got := Known(c.word, c.known, "No chain is configured."); got != c.want {
			t.Errorf("Known(%q, %q) = %q, want %q", c.word, c.known, got, c.want)
		}
	}
}

func TestDistance(t *testing.T) {
	long := string(make([]byte, 65))
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"a", "a", 0},
		{"", "abc", 3},
		{"abc", "", 3},
		{"abc", "abd", 1},
		{"abc", "ab", 1},
		{"abc", "abcd", 1},
		{"abc", "acb", 1},
		{"abcd", "badc", 2},
		{"kitten", "sitting", 3},
		{"listen", "silent", 4},
		{long, "a", 64},
		{"a", long, 64},
	} {
		if got, back := distance(c.a, c.b), distance(c.b, c.a); got != c.want || back != c.want {
			t.Errorf("distance(%q, %q) = %d, reversed %d; want %d", c.a, c.b, got, back, c.want)
		}
	}
}
