// Package dkim verifies and makes DKIM signatures (RFC 6376, 8301, 8463). The
// same signature under another name is half of ARC, so its parts are exported.
//
// It hashes a body once for each canonicalisation, however many signatures
// there are, and everything that it reads is bounded. It asks no DNS itself: a
// Lookup brings the records.
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

// Limits of what is looked at.
const (
	MaxSignatures = 5 // verified of one message, from the top
	maxTags       = 50
	maxHeaders    = 100 // names in h=
	maxKeyBits    = 8192
)

// Lookup returns the TXT records at a name: none and no error if it has none,
// an error if nobody knows.
type Lookup func(ctx context.Context, name string) ([]string, error)

// Canon is a canonicalisation (RFC 6376, 3.4).
type Canon bool

// The two canonicalisations.
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

// Signature is what a DKIM-Signature field, or an ARC-Message-Signature, says.
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
	B         string // b= as written, without spaces
	Length    int64  // l=, -1 if absent
	Signed    time.Time
	Expires   time.Time
	Instance  int // ARC's i=

	field mail.Field
}

// Tags are the tag=value pairs of a field (RFC 6376, 3.2).
type Tags map[string]string

// ParseTags reads a tag list. A tag that is there twice is an error.
func ParseTags(s string) (Tags, error) {
	t := Tags{}
	for part := range strings.SplitSeq(s, ";") {
		name, value, ok := strings.Cut(part, "=")
		name = strings.TrimSpace(name)
		if !ok {
			if name == "" {
				continue
			}
			return t, fmt.Errorf("%.20q is no tag", name)
		}
		if _, twice := t[name]; twice {
			return t, fmt.Errorf("tag %.20s= is there twice", name)
		}
		if !tagName(name) || len(t) >= maxTags {
			return t, errors.New("not a list of tags")
		}
		t[name] = strings.TrimSpace(value)
	}
	return t, nil
}

// tagName says whether a word may name a tag: a letter, then letters, digits,
// underscores (RFC 6376, 3.2), and hyphens, which some write.
func tagName(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && (i == 0 || s[i] != '_' && s[i] != '-' && (s[i] < '0' || s[i] > '9')) {
			return false
		}
	}
	return s != ""
}

// bare is a tag's value without any white space.
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
		return time.Time{}, fmt.Errorf("%s=%.20s is no time", name, v)
	}
	return time.Unix(n, 0), nil
}

// Parse reads a DKIM-Signature field; arc reads an ARC-Message-Signature, which
// has an instance instead of version and identity. With an error, the Signature
// holds what could be read.
func Parse(f mail.Field, arc bool) (*Signature, error) {
	s := &Signature{field: f, Length: -1}
	t, err := ParseTags(string(f.Value()))
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

// parse reads the tags that need more than a look.
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
			return fmt.Errorf("l=%.20s is no length", l)
		}
	}
	if s.Signed, err = t.time("t"); err != nil {
		return err
	}
	s.Expires, err = t.time("x")
	return err
}

// covers says whether a field's name is among those signed.
func (s *Signature) covers(name string) bool {
	return slices.ContainsFunc(s.Headers, func(h string) bool { return strings.EqualFold(h, name) })
}
