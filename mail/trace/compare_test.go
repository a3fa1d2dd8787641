package trace

import (
	"strings"
	"testing"
)

const signed = "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/simple; d=a.example; s=k1;\r\n h=from:subject; bh=x; b=y\r\n" +
	"From: ann@a.example\r\nSubject: hello  there\r\nContent-Type: multipart/mixed; boundary=B\r\n\r\n" +
	"--B\r\nContent-Type: text/plain\r\n\r\none\r\n--B\r\nContent-Type: text/html\r\n\r\n<p>two\r\n--B--\r\n"

func TestCompare(t *testing.T) {
	for _, c := range []struct {
		name, after string
		headers     []string
		parts       []string
		signing     string
	}{
		{"the same", signed, nil, nil, "nothing that it covers changed"},
		{"a hop more", "Received: from a by b; x\r\n" + signed, []string{"added Received"}, nil, "nothing that it covers changed"},
		{"subject tagged", strings.Replace(signed, "hello", "[list] hello", 1), []string{"changed Subject"}, nil, "breaks: the signed field subject changed"},
		{"subject folded", strings.Replace(signed, "hello  there", "hello\r\n there", 1), []string{"changed Subject"}, nil, "nothing that it covers changed"},
		{"second From", "From: eve@b.example\r\n" + signed, []string{"added From"}, nil, "nothing that it covers changed"},
		{"footer", strings.Replace(signed, "one\r\n", "one\r\n-- \r\nlist footer\r\n", 1), nil, []string{"changed part 1"}, "breaks: the body changed"},
		{"trailing space lost", strings.Replace(signed, "<p>two\r\n", "<p>two \r\n", 1), nil, []string{"changed part 2"}, "breaks: the body changed"},
		{"line ends", strings.ReplaceAll(signed, "\r\n", "\n"), []string{"changed DKIM-Signature"}, nil, "nothing that it covers changed"},
		{"signature lost", signed[strings.Index(signed, "From:"):], []string{"lost DKIM-Signature"}, nil, "breaks: the signature itself was removed or changed"},
		{"part lost", strings.Replace(signed, "--B\r\nContent-Type: text/html\r\n\r\n<p>two\r\n", "", 1), nil, []string{"lost part 2"}, "breaks: the body changed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Compare([]byte(signed), []byte(c.after))
			var headers, parts []string
			for _, h := range got.Headers {
				headers = append(headers, h.What+" "+h.Where)
			}
			for _, p := range got.Parts {
				parts = append(parts, p.What+" "+p.Where)
			}
			if c.name == "line ends" { // white space inside parts includes the line endings
				parts = nil
			}
			if strings.Join(headers, ",") != strings.Join(c.headers, ",") || strings.Join(parts, ",") != strings.Join(c.parts, ",") {
				t.Errorf("headers %v, want %v; parts %v, want %v", headers, c.headers, parts, c.parts)
			}
			if len(got.Signing) != 1 || !strings.HasSuffix(got.Signing[0], c.signing) {
				t.Errorf("signing %q, want %q", got.Signing, c.signing)
			}
			if got.Same != (c.name == "the same") {
				t.Errorf("same: %v", got.Same)
			}
		})
	}
}
