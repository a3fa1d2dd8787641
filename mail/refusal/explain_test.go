package refusal

import (
	"strings"
	"testing"
)

func TestExplain(t *testing.T) {
	for _, c := range []struct {
		text, code, title, next string
	}{
		{"550 5.7.30 Basic authentication is not supported for Client Submission.", "5.7.30", "user name and password", "the admin of the sending device or relay: "},
		{"550 5.1.1 zyzzyva quux", "5.1.1", "", ""},
		{"550 zyzzyva quux", "550", "", ""},
		{"550 5.1.1", "5.1.1", "no such mailbox", "Check"},
		{"5.7.30", "5.7.30", "REQUIRETLS", "Send"},
		{"nothing at all", "", "", ""},
	} {
		list := Explain(c.text)
		if c.code == "" {
			if len(list) != 0 {
				t.Errorf("%s: %+v", c.text, list)
			}
			continue
		}
		if len(list) == 0 || list[0].Code != c.code || !strings.Contains(list[0].Title, c.title) || !strings.HasPrefix(list[0].Next, c.next) {
			t.Errorf("%s: %+v", c.text, list)
			continue
		}
		if unknown := strings.Contains(strings.Join(list[0].Why, " "), "the code alone means this"); unknown != (c.title == "") {
			t.Errorf("%s: unknown text %v: %+v", c.text, unknown, list[0])
		}
	}
}
