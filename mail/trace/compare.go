package trace

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"

	"hoplite/mail"
	"hoplite/mail/mime"
)

// Change is a difference between two copies of a message.
type Change struct {
	What   string `json:"what"` // added, lost, changed, moved
	Where  string `json:"where"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
	// Means describes the effect on signatures, if there is one.
	Means string `json:"means,omitempty"`
}

// Comparison holds the differences between two copies of a message.
type Comparison struct {
	Headers []Change `json:"headers"`
	Parts   []Change `json:"parts"`
	Signing []string `json:"signing"` // the effect on DKIM and S/MIME signatures, as text
	Same    bool     `json:"same"`
}

const maxChanges = 500

// Compare returns the differences between two copies of a message: fields that
// were added, changed or lost, changes to the MIME tree, and the effect on DKIM
// and S/MIME signatures.
func Compare(a, b []byte) *Comparison {
	c := &Comparison{Headers: []Change{}, Parts: []Change{}, Signing: []string{}}
	headA, bodyA := cut(a)
	headB, bodyB := cut(b)
	fa, fb := list(headA), list(headB)
	c.headers(fa, fb)
	ta, tb := mime.WalkBytes(a), mime.WalkBytes(b)
	c.parts("", a, b, ta.Root, tb.Root)
	bodySimple := bytes.Equal(simpleBody(bodyA), simpleBody(bodyB))
	bodyRelaxed := bodySimple || bytes.Equal(relaxedBody(bodyA), relaxedBody(bodyB))
	c.dkim(fa, fb, bodySimple, bodyRelaxed)
	c.smime(ta.Root, tb.Root, a, b)
	c.Same = len(c.Headers) == 0 && len(c.Parts) == 0 && bodySimple
	if !bodySimple && len(c.Parts) == 0 {
		c.Parts = append(c.Parts, Change{What: "changed", Where: "body", Means: "text outside the parts"})
	}
	return c
}

func cut(b []byte) (head, body []byte) {
	for i := 0; i < len(b); {
		nl := bytes.IndexByte(b[i:], '\n')
		if nl < 0 {
			return b, nil
		}
		if line := bytes.TrimRight(b[i:i+nl], "\r"); len(line) == 0 {
			return b[:i], b[i+nl+1:]
		}
		i += nl + 1
	}
	return b, nil
}

type namedField struct{ name, raw, relaxed string }

func list(head []byte) []namedField {
	var out []namedField
	for f := range mail.Fields(head) {
		if f.Name == "" || len(out) >= 5000 {
			continue
		}
		out = append(out, namedField{f.Name, string(f.Value()), strings.ToLower(f.Name) + ":" + strings.Join(strings.Fields(f.Text()), " ")})
	}
	return out
}

// headers matches the fields from the bottom up, because the oldest fields are
// at the bottom.
func (c *Comparison) headers(a, b []namedField) {
	usedA, usedB := make([]bool, len(a)), make([]bool, len(b))
	match := func(same func(x, y namedField) bool, each func(x, y namedField)) {
		at := map[string][]int{}
		for j := range b {
			if !usedB[j] {
				at[strings.ToLower(b[j].name)] = append(at[strings.ToLower(b[j].name)], j)
			}
		}
		for i := len(a) - 1; i >= 0; i-- {
			if usedA[i] {
				continue
			}
			candidates := at[strings.ToLower(a[i].name)]
			for k := len(candidates) - 1; k >= max(0, len(candidates)-300); k-- {
				if j := candidates[k]; !usedB[j] && same(a[i], b[j]) {
					usedA[i], usedB[j] = true, true
					each(a[i], b[j])
					break
				}
			}
		}
	}
	match(func(x, y namedField) bool { return x.raw == y.raw && x.name == y.name }, func(x, y namedField) {})
	match(func(x, y namedField) bool { return x.relaxed == y.relaxed }, func(x, y namedField) {
		c.header(Change{What: "changed", Where: x.name, Before: strings.TrimSpace(x.raw), After: strings.TrimSpace(y.raw), Means: "only folding or case: relaxed signatures stay valid, simple ones break"})
	})
	match(func(x, y namedField) bool { return !manyTimes(x.name) }, func(x, y namedField) {
		c.header(Change{What: "changed", Where: x.name, Before: strings.TrimSpace(x.raw), After: strings.TrimSpace(y.raw)})
	})
	for i := range a {
		if !usedA[i] {
			c.header(Change{What: "lost", Where: a[i].name, Before: strings.TrimSpace(a[i].raw)})
		}
	}
	for j := range b {
		if !usedB[j] {
			c.header(Change{What: "added", Where: b[j].name, After: strings.TrimSpace(b[j].raw)})
		}
	}
}

// manyTimes reports whether a field may legitimately occur more than once.
func manyTimes(name string) bool {
	switch strings.ToLower(name) {
	case "received", "x-received", "dkim-signature", "arc-seal", "arc-message-signature", "arc-authentication-results", "authentication-results", "received-spf":
		return true
	}
	return false
}

func (c *Comparison) header(ch Change) {
	if len(c.Headers) < maxChanges {
		c.Headers = append(c.Headers, ch)
	}
}

// parts compares the two MIME trees.
func (c *Comparison) parts(path string, a, b []byte, x, y *mime.Part) {
	if len(c.Parts) >= maxChanges {
		return
	}
	where := path
	if where == "" {
		where = "message"
	}
	describe := func(p *mime.Part) string {
		return fmt.Sprintf("%s/%s, %s, %d bytes", p.Type, p.Subtype, p.Encoding, p.Body.Size())
	}
	if x.Type != y.Type || x.Subtype != y.Subtype {
		c.Parts = append(c.Parts, Change{What: "changed", Where: where, Before: describe(x), After: describe(y), Means: "the type of the part changed"})
	} else if x.Encoding != y.Encoding {
		c.Parts = append(c.Parts, Change{What: "changed", Where: where, Before: describe(x), After: describe(y), Means: "re-encoded: every signature over the body breaks"})
	} else if len(x.Children) == 0 && len(y.Children) == 0 {
		if px, py := body(a, x), body(b, y); sha256.Sum256(px) != sha256.Sum256(py) {
			means := "the content changed"
			if bytes.Equal(squeeze(px), squeeze(py)) {
				means = "only white space or line endings changed"
			}
			c.Parts = append(c.Parts, Change{What: "changed", Where: where, Before: describe(x), After: describe(y), Means: means})
		}
	}
	for i := 0; i < max(len(x.Children), len(y.Children)); i++ {
		sub := fmt.Sprintf("part %d", i+1)
		if path != "" {
			sub = fmt.Sprintf("%s.%d", path, i+1)
		}
		switch {
		case i >= len(x.Children):
			c.Parts = append(c.Parts, Change{What: "added", Where: sub, After: describe(y.Children[i])})
		case i >= len(y.Children):
			c.Parts = append(c.Parts, Change{What: "lost", Where: sub, Before: describe(x.Children[i])})
		default:
			c.parts(sub, a, b, x.Children[i], y.Children[i])
		}
	}
}

func body(whole []byte, p *mime.Part) []byte {
	from, to := p.Body.From.Off, p.Body.To.Off
	if from < 0 || to > int64(len(whole)) || from > to {
		return nil
	}
	return whole[from:to]
}

func squeeze(b []byte) []byte { return bytes.Join(bytes.Fields(b), []byte{' '}) }

// dkim reports which signatures the differences break (RFC 6376, 3.4 and 3.7).
func (c *Comparison) dkim(a, b []namedField, bodySimple, bodyRelaxed bool) {
	sigs := 0
	for _, f := range a {
		if !strings.EqualFold(f.name, "DKIM-Signature") && !strings.EqualFold(f.name, "ARC-Message-Signature") {
			continue
		}
		if sigs++; sigs > 20 {
			return
		}
		flat := strings.Join(strings.Fields(f.raw), "")
		label := fmt.Sprintf("%s of %s (selector %s)", f.name, tag(flat, "d"), tag(flat, "s"))
		headerMode, bodyMode, _ := strings.Cut(tag(flat, "c"), "/")
		var why []string
		if bodyMode == "relaxed" && !bodyRelaxed || bodyMode != "relaxed" && !bodySimple {
			why = append(why, "the body changed")
		}
		for name := range strings.SplitSeq(strings.ToLower(tag(flat, "h")), ":") {
			if name != "" && !sameFields(a, b, name, headerMode == "relaxed", strings.Count(":"+strings.ToLower(tag(flat, "h"))+":", ":"+name+":")) {
				why = append(why, "the signed field "+name+" changed")
			}
		}
		present := false
		for _, g := range b {
			present = present || g.relaxed == f.relaxed
		}
		if !present {
			why = append(why, "the signature itself was removed or changed")
		}
		if len(why) == 0 {
			c.Signing = append(c.Signing, label+": nothing that it covers changed")
		} else {
			c.Signing = append(c.Signing, label+" breaks: "+strings.Join(unique(why), ", "))
		}
	}
}

// sameFields compares the last n fields of a name, which are the ones that a
// signature covers. If there are fewer than n, the signature also protects
// against additions.
func sameFields(a, b []namedField, name string, relaxed bool, n int) bool {
	pick := func(fs []namedField) []string {
		var out []string
		for i := len(fs) - 1; i >= 0 && len(out) < n; i-- {
			if strings.EqualFold(fs[i].name, name) {
				if relaxed {
					out = append(out, fs[i].relaxed)
				} else {
					out = append(out, fs[i].name+":"+fs[i].raw)
				}
			}
		}
		return out
	}
	x, y := pick(a), pick(b)
	return strings.Join(x, "\x00") == strings.Join(y, "\x00")
}

func unique(list []string) []string {
	seen := map[string]bool{}
	var out []string
	for _, s := range list {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}

// simpleBody returns the body in simple canonicalisation (RFC 6376, 3.4.3),
// with LF instead of CRLF; relaxedBody uses relaxed canonicalisation (3.4.4).
func simpleBody(b []byte) []byte {
	b = bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))
	return append(bytes.TrimRight(b, "\n"), '\n')
}

func relaxedBody(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for line := range bytes.SplitSeq(simpleBody(b), []byte{'\n'}) {
		line = bytes.TrimRight(line, " \t")
		blank := false
		for _, ch := range line {
			if ch == ' ' || ch == '\t' {
				if !blank {
					out = append(out, ' ')
				}
				blank = true
				continue
			}
			blank = false
			out = append(out, ch)
		}
		out = append(out, '\n')
	}
	return append(bytes.TrimRight(out, "\n"), '\n')
}

// smime reports changes to S/MIME parts.
func (c *Comparison) smime(x, y *mime.Part, a, b []byte) {
	was, is := signedPart(x), signedPart(y)
	switch {
	case was == nil && is == nil:
	case was == nil:
		c.Signing = append(c.Signing, "S/MIME: the second copy is signed or encrypted, the first is not")
	case is == nil:
		c.Signing = append(c.Signing, "S/MIME: the signed or encrypted part is missing")
	case bytes.Equal(body(a, was), body(b, is)):
		c.Signing = append(c.Signing, "S/MIME: the signed or encrypted part is identical")
	case bytes.Equal(bytes.ReplaceAll(body(a, was), []byte("\r\n"), []byte("\n")), bytes.ReplaceAll(body(b, is), []byte("\r\n"), []byte("\n"))):
		c.Signing = append(c.Signing, "S/MIME: only line endings differ; the signature stays valid")
	default:
		c.Signing = append(c.Signing, "S/MIME: the signed part changed, so the signature breaks")
	}
}

func signedPart(p *mime.Part) *mime.Part {
	if p.Is("multipart", "signed") || p.Type == "application" && strings.HasSuffix(p.Subtype, "pkcs7-mime") {
		return p
	}
	for _, ch := range p.Children {
		if s := signedPart(ch); s != nil {
			return s
		}
	}
	return nil
}
