package maildrop

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"github.com/rs/zerolog"

	"hoplite/maildrop/maildir"
)

// metadataFile holds the annotations of a box and its folders as JSON: an object
// by folder name, "" for the box, of objects by entry name. The values are in
// base64.
const metadataFile = "hoplite-metadata"

// The limits on annotations of one box.
const (
	maxAnnotations  = 1000
	maxMetadataFile = 1 << 20
)

// ErrAnnotations is returned if a box has too many annotations.
var ErrAnnotations = errors.New("too many annotations")

// Annotations holds values by entry name (RFC 5464).
type Annotations map[string][]byte

// annotations manages the file of a box. Box.mu guards it.
type annotations struct {
	dir *maildir.Dir
	log zerolog.Logger
}

// read returns the annotations by folder name. A damaged file has none.
func (a annotations) read() (map[string]Annotations, error) {
	all := map[string]Annotations{}
	text, err := a.dir.ReadFile(metadataFile, 2*maxMetadataFile)
	if isNot(err) {
		return all, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read annotations: %w", err)
	}
	if err := json.Unmarshal(text, &all); err != nil || all == nil {
		a.log.Warn().Err(err).Msg("annotations are damaged and ignored")
		return map[string]Annotations{}, nil
	}
	return all, nil
}

// write replaces the file.
func (a annotations) write(all map[string]Annotations) error {
	count := 0
	for name, one := range all {
		if len(one) == 0 {
			delete(all, name)
		}
		count += len(one)
	}
	text, err := json.Marshal(all)
	if err != nil {
		return fmt.Errorf("write annotations: %w", err)
	}
	if count > maxAnnotations || len(text) > maxMetadataFile {
		return ErrAnnotations
	}
	return a.dir.Replace(metadataFile, text)
}

// move renames folders, in order, or removes the annotations of a folder whose
// new name is "".
func (a annotations) move(moves ...[2]string) error {
	all, err := a.read()
	if err != nil || len(all) == 0 {
		return err
	}
	changed := false
	for _, m := range moves {
		if one := all[m[0]]; one != nil {
			changed = true
			delete(all, m[0])
			if m[1] != "" {
				all[m[1]] = one
			}
		}
	}
	if !changed {
		return nil
	}
	return a.write(all)
}

// Annotations returns the annotations of a folder, or of the box if name is "".
func (b *Box) Annotations(name string) (Annotations, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	name, err := b.annotated(name)
	if err != nil {
		return nil, err
	}
	all, err := b.notes.read()
	return all[name], err
}

// Annotate changes the annotations of a folder, or of the box if name is "". A
// nil value removes an annotation. Either all changes are made or none. Values
// that grow must fit into the box's quota.
func (b *Box) Annotate(name string, changes Annotations) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	name, err := b.annotated(name)
	if err != nil {
		return err
	}
	all, err := b.notes.read()
	if err != nil {
		return err
	}
	one := maps.Clone(all[name])
	if one == nil {
		one = Annotations{}
	}
	growth := 0
	for entry, value := range changes {
		growth += len(value) - len(one[entry])
		if value == nil {
			delete(one, entry)
		} else {
			one[entry] = value
		}
	}
	if growth > 0 {
		if err := b.quota.fits(int64(growth), 0); err != nil {
			return err
		}
	}
	all[name] = one
	return b.notes.write(all)
}

// annotated returns the name under which annotations are stored, or an error if
// the folder does not exist. The caller holds b.mu.
func (b *Box) annotated(name string) (string, error) {
	name = maildir.CanonicalFolder(name)
	if name == "" || name == maildir.Inbox {
		return name, nil
	}
	dir, err := maildir.FolderDir(name)
	if err != nil {
		return "", err
	}
	if !b.isFolder(dir) {
		return "", ErrNoFolder
	}
	return name, nil
}
