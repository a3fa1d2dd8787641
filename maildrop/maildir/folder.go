package maildir

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Inbox is the name of the folder that every box has. It is stored in the box's
// own directory.
const Inbox = "INBOX"

// maxFolder is the maximum length of a directory name that file systems
// support.
const maxFolder = 255

// ErrFolderName is returned for an invalid folder name.
var ErrFolderName = errors.New("invalid folder name")

// FolderDir returns a folder's directory relative to its box, such as
// ".Lists.Go" for "Lists/Go". Names are UTF-8 with "/" between levels. INBOX,
// in any case, is the box itself, ".".
func FolderDir(name string) (string, error) {
	name = CanonicalFolder(name)
	if name == Inbox {
		return ".", nil
	}
	if !utf8.ValidString(name) || len(name) > 2*maxFolder {
		return "", ErrFolderName
	}
	for level := range strings.SplitSeq(name, "/") {
		// On disk, a dot would start a new level, and an empty level would be
		// lost.
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

// CanonicalFolder returns name with INBOX in upper case, also if it is the
// first of several levels, because INBOX is case-insensitive (RFC 9051, 5.1).
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

// FolderName returns the name of the folder stored in a directory of a box. ok
// is false for directories that are not folders.
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
	// Only a name that maps back to the directory can be opened again.
	if back, err := FolderDir(name); err != nil || back != dir {
		return "", false
	}
	return name, true
}
