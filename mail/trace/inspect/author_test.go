package inspect

import (
	"strings"
	"testing"
)

func TestAuthor(t *testing.T) {
	for _, c := range []struct{ name, from, want string }{
		{"an ordinary name", "Ann Smith <ann@example.com>", ""},
		{"an address without a name", "ann@example.com", ""},
		{"the same address as name", `"ann@example.com" <ann@example.com>`, ""},
		{"an address of the same organisation", `"sales@example.co.uk" <mailer@news.example.co.uk>`, ""},
		{"a bank as display name", `"ceo@bank.example" <eve@evil.example>`, "warning display-name: the name in From shows the address ceo@bank.example, but the message is from evil.example"},
		{"a bank behind a name", `"The Boss (ceo@bank.example)" <eve@evil.example>`, "warning display-name: the name in From shows the address ceo@bank.example"},
		{"encoded", "=?utf-8?q?ceo=40bank.example?= <eve@evil.example>", "warning display-name: "},
		{"a list that replaced From", `"ann@example.com via dev" <dev@lists.example.net>`, "note display-name: "},
		{"a list without via", "LIST \"ann@example.com\" <dev@lists.example.net>", "note display-name: "},
		{"two organisations below one public suffix", `"a@one.co.uk" <b@two.co.uk>`, "warning display-name: "},
		{"a name that is no address", `"Ann @ Work" <ann@example.com>`, ""},
		{"text direction", "=?utf-8?q?Ann=E2=80=AE?= <ann@example.com>", "warning hidden-characters: the From field contains the character U+202E"},
		{"line break in an encoded word", "=?utf-8?q?ceo=40bank.example=0A=00?= <eve@evil.example>", "warning hidden-characters: the From field contains the character U+000A"},
		{"emoji with variation selector and joiner", "=?utf-8?b?8J+RqeKAjeKdpO+4j+KAjfCfkag=?= <ann@example.com>", ""},
		{"an Arabic name with a direction mark", "=?utf-8?q?=D8=A3=D8=AD=D9=85=D8=AF=E2=80=8F?= <ahmad@example.com>", ""},
		{"mixed scripts", "<a@xn--bnk-5cd.example>", "warning display-domain: the domain in From mixes Latin letters with Cyrillic or Greek ones: xn--bnk-5cd.example, displayed as аbnk.example"},
		{"a whole label of twins", "<a@xn--80ak6aa92e.com>", `warning display-domain: the domain in From, xn--80ak6aa92e.com, is displayed as аррӏе.com and looks like "apple" in Latin letters`},
		{"a German domain", "<a@bücher.example>", ""},
		{"a Russian name", "<a@почта.example>", ""},
		{"a Russian domain", "<a@сор.рф>", ""},
		{"a Japanese name", "<a@東京メールabc.example>", ""},
	} {
		head := strings.ReplaceAll("From: "+strings.TrimPrefix(c.from, "LIST ")+"\nSubject: x\n", "\n", "\r\n")
		if strings.HasPrefix(c.from, "LIST ") {
			head += "List-Id: <dev.lists.example.net>\r\n"
		}
		var got []string
		for _, f := range author([]byte(head + "\r\n")) {
			got = append(got, f.Severity+" "+f.Code+": "+f.Text)
		}
		if text := strings.Join(got, "\n"); c.want == "" && text != "" || !strings.HasPrefix(text, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, text, c.want)
		}
	}
}
