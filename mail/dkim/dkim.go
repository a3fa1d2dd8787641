// Package dkim verifies and creates DKIM signatures (RFC 6376, 8301, 8463) and
// reads the keys for both. Start with [Verify] and [Sign]. Parts of it are
// exported for ARC, which uses the same signatures under another name.
//
// Verification hashes a body once per canonicalisation, regardless of the
// number of signatures, in constant memory. For large messages this is much
// cheaper than go-msgauth's verifier; signing uses go-msgauth. Key records are
// looked up through a [Lookup].
package dkim

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"hoplite/mail"
)

// Limits on the input.
const (
	MaxSignatures = 5 // maximum number verified, from the top
	maxTags       = 50
	maxHeaders    = 100 // names in h=
	maxKeyBits    = 8192
)

// Lookup returns the TXT records at a name. It returns an error only if it
// could not determine whether there are any.
type Lookup func(ctx context.Context, name string) ([]string, error)

// Canon is a canonicalisation (RFC 6376, 3.4).
type Canon bool

// The canonicalisations.
const (
	Simple  Canon = false
	Relaxed Canon = true
)

func (c Canon) String() string {
	if c == Relaxed {
		return "relaxed"
	}
	return "simple"
}

// Signature is the content of a DKIM-Signature or ARC-Message-Signature field.
type Signature struct {
	Domain    string // d=, lower case
	Selector  string // s=
	Identity  string // i= as written, "" if absent
	Algorithm string // a=, lower case
	Headers   []string
	HeaderCan Canon
	BodyCan   Canon
	BodyHash  []byte
	Value     []byte // b=
	B         string // b= as written, but without spaces
	Length    int64  // l=, -1 if absent
	Signed    time.Time
	Expires   time.Time
	Instance  int // i= of an ARC field

	field mail.Field
}

// Tags holds the tag=value pairs of a field (RFC 6376, 3.2).
type Tags map[string]string

// ParseTags parses a tag list. A repeated tag is an error.
func ParseTags(s string) (Tags, error) {
	t := Tags{}
	for part := range strings.SplitSeq(s, ";") {
		name, value, ok := strings.Cut(part, "=")
		name = strings.TrimSpace(name)
		if !ok {
			if name == "" {
				continue
			}
			return t, fmt.Errorf("%.20q is not a tag", name)
		}
		if _, twice := t[name]; twice {
			return t, fmt.Errorf("tag %.20s= is repeated", name)
		}
		if !tagName(name) || len(t) >= maxTags {
			return t, errors.New("not a list of tags")
		}
		t[name] = strings.TrimSpace(value)
	}
	return t, nil
}

// ParseTagsStrictly is like ParseTags, but an empty tag, as in ";;", is an
// error. A final semicolon is not.
func ParseTagsStrictly(s string) (Tags, error) {
	t, err := ParseTags(s)
	parts := strings.Split(s, ";")
	for _, part := range parts[:len(parts)-1] {
		if err == nil && strings.TrimSpace(part) == "" {
			err = errors.New("an empty tag")
		}
	}
	return t, err
}

// tagName reports whether s is a valid tag name: a letter followed by letters,
// digits or underscores (RFC 6376, 3.2), or by hyphens, which some signers use.
func tagName(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && (i == 0 || s[i] != '_' && s[i] != '-' && (s[i] < '0' || s[i] > '9')) {
			return false
		}
	}
	return s != ""
}

// bare returns a tag's value with all white space removed.
func (t Tags) bare(name string) string {
	v := t[name]
	if strings.ContainsAny(v, " \t\r\n") {
		v = strings.Join(strings.Fields(v), "")
	}
	return v
}

// Base64 decodes a tag's value.
func (t Tags) Base64(name string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(t.bare(name))
	if err != nil || len(b) == 0 {
		return nil, fmt.Errorf("%s= is not base64", name)
	}
	return b, nil
}

func (t Tags) time(name string) (time.Time, error) {
	v := t.bare(name)
	if v == "" {
		return time.Time{}, nil
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 || n > 1<<40 {
		return time.Time{}, fmt.Errorf("%s=%.20s is not a time", name, v)
	}
	return time.Unix(n, 0), nil
}

// Parse parses a DKIM-Signature field or, if arc is set, an
// ARC-Message-Signature field, which has an instance instead of a version and
// an identity. If Parse returns an error, the Signature contains the tags that
// could be parsed.
func Parse(f mail.Field, arc bool) (*Signature, error) {
	s := &Signature{field: f, Length: -1}
	parse := ParseTags
	if arc {
		parse = ParseTagsStrictly
	}
	t, err := parse(string(f.Value()))
	s.Domain, s.Selector = strings.ToLower(t.bare("d")), t.bare("s")
	s.Algorithm, s.B = strings.ToLower(t.bare("a")), t.bare("b")
	if err != nil {
		return s, err
	}
	required := []string{"a", "b", "bh", "d", "h", "s"}
	if arc {
		s.Instance, _ = strconv.Atoi(t.bare("i"))
	} else {
		s.Identity = t.bare("i")
		required = append(required, "v")
	}
	for _, name := range required {
		if t[name] == "" {
			return s, fmt.Errorf("tag %s= is missing", name)
		}
	}
	if !arc && t.bare("v") != "1" {
		return s, fmt.Errorf("version %.10q is unknown", t["v"])
	}
	if q := t.bare("q"); q != "" && !slices.Contains(strings.Split(q, ":"), "dns/txt") {
		return s, fmt.Errorf("key query q=%.20s is unknown", q)
	}
	return s, s.parse(t)
}

// parse reads the tags that need conversion.
func (s *Signature) parse(t Tags) (err error) {
	for h := range strings.SplitSeq(t["h"], ":") {
		if s.Headers = append(s.Headers, strings.TrimSpace(h)); len(s.Headers) > maxHeaders {
			return fmt.Errorf("h= names more than %d fields", maxHeaders)
		}
	}
	head, body, ok := strings.Cut(strings.ToLower(t.bare("c")), "/")
	if !ok {
		body = "simple"
	}
	if head == "" {
		head = "simple"
	}
	for _, name := range []string{head, body} {
		if name != "simple" && name != "relaxed" {
			return fmt.Errorf("canonicalisation %.20q is unknown", name)
		}
	}
	s.HeaderCan, s.BodyCan = head == "relaxed", body == "relaxed"
	if s.BodyHash, err = t.Base64("bh"); err != nil {
		return err
	}
	if s.Value, err = t.Base64("b"); err != nil {
		return err
	}
	if l := t.bare("l"); l != "" {
		if s.Length, err = strconv.ParseInt(l, 10, 64); err != nil || s.Length < 0 {
			s.Length = -1
			return fmt.Errorf("l=%.20s is not a length", l)
		}
	}
	if s.Signed, err = t.time("t"); err != nil {
		return err
	}
	s.Expires, err = t.time("x")
	return err
}

// covers reports whether a field name is among the signed names.
func (s *Signature) covers(name string) bool {
	return slices.ContainsFunc(s.Headers, func(h string) bool { return strings.EqualFold(h, name) })
}
