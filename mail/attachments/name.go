package attachments

import (
	"path"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"hoplite/mail/mime"
)

// maxName is the maximum length of a name in octets; longer names are
// truncated.
const maxName = 1024

// partNames returns every name that some mail program may show for a part, most
// likely first. Programs differ in whether they use filename or name, plain or
// encoded (RFC 2231), and in whether they decode encoded words where these are
// not allowed (RFC 2047, 5).
func partNames(p *mime.Part) []string {
	var out []string
	add := func(s string) {
		for _, v := range []string{mime.DecodeWords(s), s} {
			if v = strings.ToValidUTF8(clip(v), "\uFFFD"); v != "" && !slices.Contains(out, v) {
				out = append(out, v)
			}
		}
	}
	add(p.Filename())
	for f := range mime.Fields(p.Raw) {
		switch {
		case f.Is("Content-Disposition"):
			for _, v := range mime.Every(f.Unfolded(), "filename") {
				add(v)
			}
		case f.Is("Content-Type"):
			for _, v := range mime.Every(f.Unfolded(), "name") {
				add(v)
			}
		}
		if len(out) > 20 {
			break
		}
	}
	return out
}

func clip(s string) string { return s[:min(len(s), maxName)] }

// BaseName returns a name as a file system would use it: without directories
// and invisible characters, and in a Unicode normal form.
func BaseName(name string) string {
	name = norm.NFKC.String(name) // full-width and one-dot-leader dots become ordinary dots
	name = strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Cc, r) {
			return -1
		}
		return r
	}, name)
	name = path.Base(strings.ReplaceAll(name, "\\", "/"))
	if i := strings.IndexByte(name, ':'); i > 1 {
		name = name[:i] // remove an NTFS alternate data stream
	}
	return strings.TrimRight(name, ". \u00a0")
}

// Extension returns the text after the last dot of the BaseName, in lower case,
// or "" if there is none.
func Extension(name string) string {
	name = BaseName(name)
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		return strings.ToLower(strings.TrimSpace(name[i+1:]))
	}
	return ""
}

// The tricks that disguise a file as another kind of file.
const (
	TrickDouble   = "double-extension" // as in invoice.pdf.exe
	TrickHidden   = "hidden-extension" // long runs of spaces, control characters, a final dot
	TrickReversed = "reversed-name"    // a right-to-left override
	TrickNames    = "several-names"    // several names with different extensions
	TrickPath     = "path"             // directories in the name
	TrickType     = "type-mismatch"    // a program with another kind of file's name or type
	TrickMacros   = "macros"           // a document with macros
)

// Tricks lists all tricks.
var Tricks = []string{TrickDouble, TrickHidden, TrickReversed, TrickNames, TrickPath, TrickType, TrickMacros}

// tricksOf returns the tricks that an item's names use to hide its kind.
func tricksOf(names []string, kind string) []string {
	var out []string
	add := func(t string) {
		if !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	var exts []string
	for _, n := range names {
		ext := Extension(n)
		if !slices.Contains(exts, ext) {
			exts = append(exts, ext)
		}
		if parts := strings.Split(strings.ToLower(BaseName(n)), "."); len(parts) > 2 && runs[ext] && shows[strings.TrimSpace(parts[len(parts)-2])] {
			add(TrickDouble)
		}
		if strings.ContainsAny(n, "\u202a\u202b\u202d\u202e\u2066\u2067\u2068") {
			add(TrickReversed)
		}
		if strings.ContainsAny(n, "/\\") && (strings.Contains(n, "..") || strings.HasPrefix(n, "/") || strings.Contains(n, ":")) {
			add(TrickPath)
		}
		if hidden(n) {
			add(TrickHidden)
		}
		if starts[kind] && ext != "" && !runs[ext] {
			add(TrickType)
		}
	}
	if starts[kind] && len(names) == 0 {
		add(TrickType)
	}
	if len(exts) > 1 && slices.ContainsFunc(exts, func(e string) bool { return runs[e] }) {
		add(TrickNames)
	}
	return out
}

func hidden(n string) bool {
	if strings.Contains(n, "     ") || strings.HasSuffix(strings.TrimRight(n, " "), ".") {
		return true
	}
	for _, r := range n {
		if unicode.Is(unicode.Cc, r) || r == '\u200b' || r == '\u00ad' || r == '\uff0e' || r == '\u2024' {
			return true
		}
	}
	return false
}
