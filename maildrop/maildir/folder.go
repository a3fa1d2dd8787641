package maildir

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Inbox is the name of the folder that every box has: the root itself.
const Inbox = "INBOX"

// The limits of folder names. File systems end at 255 octets a name.
const (
	maxFolder = 240
	maxLevels = 64
)

// ErrFolderName is the answer to names that no folder can have.
var ErrFolderName = errors.New("not a possible folder name")

// FolderDir is the directory of a folder below its box, as in ".Lists.Go" for
// "Lists/Go". Names are UTF-8 with "/" between the levels. INBOX, in any case,
// is the box itself, ".".
func FolderDir(name string) (string, error) {
	name = CanonicalFolder(name)
	if name == Inbox {
		return ".", nil
	}
	if !utf8.ValidString(name) || strings.Count(name, "/") >= maxLevels {
		return "", ErrFolderName
	}
	for level := range strings.SplitSeq(name, "/") {
		// A dot would begin a new level on disk, and an empty level vanish.
		if level == "" || strings.Contains(level, ".") || strings.ContainsFunc(level, unicode.IsControl) ||
			strings.ContainsRune(level, utf8.RuneError) {
			return "", ErrFolderName
		}
	}
	dir := "." + EncodeUTF7(strings.ReplaceAll(name, "/", "."))
	if len(dir) > maxFolder {
		return "", ErrFolderName
	}
	return dir, nil
}

// CanonicalFolder writes INBOX, also as first level, in capitals; RFC 9051,
// 5.1 makes its case mean nothing.
func CanonicalFolder(name string) string {
	first, rest, deeper := strings.Cut(name, "/")
	if !strings.EqualFold(first, Inbox) {
		return name
	}
	if deeper {
		return Inbox + "/" + rest
	}
	return Inbox
}

// FolderName is the folder that a directory of a box holds; ok is false for
// directories that are none.
func FolderName(dir string) (name string, ok bool) {
	if dir == "." {
		return Inbox, true
	}
	rest, ok := strings.CutPrefix(dir, ".")
	if !ok || rest == "" {
		return "", false
	}
	name, err := DecodeUTF7(rest)
	if err != nil {
		return "", false
	}
	name = strings.ReplaceAll(name, ".", "/")
	// Only what a name leads back to can be opened again.
	if back, err := FolderDir(name); err != nil || back != dir {
		return "", false
	}
	return name, true
}
