package archive

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
)

// Limits on an image.
const (
	isoSector    = 2048
	isoFirst     = 16 // the sector of the first descriptor
	maxISOSets   = 32 // maximum number of descriptors
	maxISODepth  = 32
	maxDirectory = 1 << 20 // maximum number of octets in one directory
)

var (
	errISO = errors.New("damaged image")
	errUDF = errors.New("an image with a second directory (UDF), which is not read")
)

// iso lists the files in an ISO 9660 image (ECMA-119), under their names in the
// primary directory and in the Joliet directory, which Windows shows. Content
// is stored uncompressed.
func (w *walk) iso() error {
	i := &isoImage{walk: w, seen: map[isoFile]bool{}, entered: map[uint32]bool{}}
	sector := make([]byte, isoSector)
	var roots []isoRecord
	udf := false
	for n := range int64(maxISOSets) {
		if _, err := w.At.ReadAt(sector, (isoFirst+n)*isoSector); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
		switch id := string(sector[1:6]); {
		case id == "CD001" && (sector[0] == 1 || sector[0] == 2):
			root, ok := i.record(sector[156:190], joliet(sector))
			if !ok {
				return errISO
			}
			roots = append(roots, root)
		case id == "NSR02" || id == "NSR03":
			udf = true
		}
	}
	if len(roots) == 0 {
		return errISO
	}
	for k := len(roots) - 1; k >= 0; k-- { // Joliet first
		if err := i.directory(roots[k], "", 0); err != nil {
			return err
		}
	}
	if udf {
		return errUDF
	}
	return nil
}

// joliet reports whether a supplementary descriptor has UCS-2 names.
func joliet(descriptor []byte) bool {
	return descriptor[0] == 2 && descriptor[88] == '%' && descriptor[89] == '/'
}

// isoImage is the state of reading one image.
type isoImage struct {
	*walk
	files   int
	seen    map[isoFile]bool
	entered map[uint32]bool // extents of directories already listed
}

// isoFile identifies a file that is listed in both directories.
type isoFile struct {
	extent, size uint32
	ext          string
}

// isoRecord is a directory entry (ECMA-119, 9.1).
type isoRecord struct {
	name         string
	extent, size uint32
	folder       bool
	gaps         bool // the file is interleaved with others
	joliet       bool
}

func (i *isoImage) record(b []byte, joliet bool) (r isoRecord, ok bool) {
	if len(b) < 34 || int(b[32]) > len(b)-33 {
		return r, false
	}
	const folder = 2
	name := b[33 : 33+int(b[32])]
	r = isoRecord{extent: le.Uint32(b[2:]) + uint32(b[1]), size: le.Uint32(b[10:]), folder: b[25]&folder != 0, gaps: b[26] != 0, joliet: joliet}
	r.name = string(name)
	if joliet && len(name) > 1 {
		units := make([]uint16, len(name)/2)
		for k := range units {
			units[k] = binary.BigEndian.Uint16(name[2*k:])
		}
		r.name = string(utf16.Decode(units))
	}
	r.name, _, _ = strings.Cut(r.name, ";") // remove the version
	return r, true
}

// directory lists a directory and its subdirectories.
func (i *isoImage) directory(dir isoRecord, path string, depth int) error {
	if depth > maxISODepth {
		return fmt.Errorf("%w: nested too deeply", errISO)
	}
	if i.entered[dir.extent] {
		return nil
	}
	if i.entered[dir.extent] = true; len(i.entered) > 2*i.Files {
		return ErrFiles
	}
	if dir.size > maxDirectory {
		return ErrFiles
	}
	if err := i.take(isoSector); err != nil {
		return err
	}
	sector := make([]byte, isoSector)
	for at := int64(0); at < int64(dir.size); at += isoSector {
		if _, err := i.At.ReadAt(sector, int64(dir.extent)*isoSector+at); err != nil {
			return errISO
		}
		if err := i.sector(sector, dir.joliet, path, depth); err != nil {
			return err
		}
	}
	return nil
}

// sector lists the entries in one sector of a directory. Entries never span
// sectors.
func (i *isoImage) sector(b []byte, joliet bool, path string, depth int) error {
	for len(b) > 0 && b[0] != 0 {
		n := int(b[0])
		if n > len(b) {
			return errISO
		}
		r, ok := i.record(b[:n], joliet)
		if !ok {
			return errISO
		}
		b = b[n:]
		if r.name == "\x00" || r.name == "\x01" { // the directory itself and its parent
			continue
		}
		var err error
		if r.folder {
			err = i.directory(r, path+r.name+"/", depth+1)
		} else {
			err = i.file(r, path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (i *isoImage) file(r isoRecord, path string) error {
	_, ext, _ := strings.Cut(strings.ToLower(r.name), ".")
	id := isoFile{r.extent, r.size, ext}
	if i.seen[id] {
		return nil
	}
	i.seen[id] = true
	if i.files++; i.files > i.Files {
		return ErrFiles
	}
	e := Entry{Name: path + r.name, Size: int64(r.size)}
	if at := int64(r.extent) * isoSector; r.gaps || at+int64(r.size) > i.Size {
		e.Unread = errISO.Error()
	} else {
		e.Body = io.NewSectionReader(i.At, at, int64(r.size))
	}
	return i.visit(e)
}
