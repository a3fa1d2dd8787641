//go:build unix && !linux

package maildir

import (
	"io"
	"io/fs"
	"os"
)

func readNames(d *Dir, f *os.File, keep func(fs.FileMode) bool) ([]string, error) {
	var names []string
	for {
		entries, err := f.ReadDir(1024)
		for _, e := range entries {
			if keep(e.Type()) {
				names = append(names, e.Name())
			}
		}
		if err == io.EOF {
			return names, nil
		}
		if err != nil {
			return nil, err
		}
	}
}
