package history

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// day is the file for one day and its index. The index has a 16-byte entry for
// each key of each record: the hash of the key and the offset of the line. If a
// crash has truncated the index, it is completed from the lines.
type day struct {
	name       string
	lines, idx *os.File
	end        int64 // offset of the next line
}

const (
	entrySize = 16
	batchSize = 128 << 10
	// maxLine is the maximum length of a line that is read; no record is that
	// large.
	maxLine = 4 << 20
)

// openDay opens the file for the current day. An index that cannot be read is
// regenerated from the lines; rebuilt is the reason.
func openDay(dir string, now time.Time) (d *day, rebuilt, err error) {
	name := now.UTC().Format(dayForm)
	d, err = openFiles(dir, name)
	if err == nil {
		return d, nil, nil
	}
	index := filepath.Join(dir, name+".idx")
	if os.RemoveAll(index) != nil {
		return nil, nil, err
	}
	rebuilt = err
	if d, err = openFiles(dir, name); err != nil {
		return nil, nil, err
	}
	return d, rebuilt, nil
}

func openFiles(dir, name string) (*day, error) {
	d := &day{name: name}
	path := filepath.Join(dir, name)
	var err error
	if d.lines, err = os.OpenFile(path+".jsonl", os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o640); err != nil {
		return nil, fmt.Errorf("open history: %w", err)
	}
	if d.idx, err = os.OpenFile(path+".idx", os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o640); err != nil {
		d.lines.Close()
		return nil, fmt.Errorf("open history: %w", err)
	}
	if err := d.repair(); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// repair removes an incomplete last line and completes the index. Lines already
// in the index are not read, because the file for a busy day has hundreds of
// megabytes.
func (d *day) repair() error {
	if err := d.resume(); err != nil {
		return fmt.Errorf("repair history of %s: %w", d.name, err)
	}
	if _, err := d.lines.Seek(d.end, io.SeekStart); err != nil {
		return fmt.Errorf("repair history of %s: %w", d.name, err)
	}
	r := bufio.NewReaderSize(d.lines, 64<<10)
	var entries, hashes = []byte(nil), []uint64(nil)
	for {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read history of %s: %w", d.name, err)
		}
		var rec Record
		if json.Unmarshal(line, &rec) == nil {
			hashes = rec.hashes(hashes[:0])
			entries = appendEntries(entries, hashes, d.end)
		}
		d.end += int64(len(line))
		if len(entries) > batchSize {
			if _, err := d.idx.Write(entries); err != nil {
				return fmt.Errorf("write history: %w", err)
			}
			entries = entries[:0]
		}
	}
	if err := d.lines.Truncate(d.end); err != nil {
		return fmt.Errorf("repair history of %s: %w", d.name, err)
	}
	if _, err := d.idx.Write(entries); err != nil {
		return fmt.Errorf("write history: %w", err)
	}
	return nil
}

// resume sets end to the offset of the last indexed line, whose entries may be
// incomplete and are removed, or to 0 if the index is not plausible.
func (d *day) resume() error {
	lines, err := d.lines.Stat()
	if err != nil {
		return err
	}
	idx, err := d.idx.Stat()
	if err != nil {
		return err
	}
	keep, last := idx.Size()/entrySize*entrySize, int64(-1)
	var e [entrySize]byte
	for keep > 0 {
		if _, err := d.idx.ReadAt(e[:], keep-entrySize); err != nil {
			return err
		}
		off := int64(binary.LittleEndian.Uint64(e[8:]))
		if last >= 0 && off != last {
			break
		}
		last = off
		keep -= entrySize
	}
	var before [1]byte
	switch {
	case last < 0 || last >= lines.Size():
		keep, last = 0, 0
	case last > 0:
		if _, err := d.lines.ReadAt(before[:], last-1); err != nil || before[0] != '\n' {
			keep, last = 0, 0
		}
	}
	d.end = last
	return d.idx.Truncate(keep)
}

// write appends a batch. The lines are written before the index. Readers ignore
// an index entry without a line.
func (d *day) write(b *batch) error {
	if len(b.lines) == 0 {
		return nil
	}
	if _, err := d.lines.Write(b.lines); err != nil {
		d.lines.Truncate(d.end) // keep earlier records; this batch is lost
		return fmt.Errorf("write history: %w", err)
	}
	b.moveTo(d.end)
	d.end += int64(len(b.lines))
	if _, err := d.idx.Write(b.entries); err != nil {
		return fmt.Errorf("write history: %w", err)
	}
	return nil
}

func (d *day) close() {
	d.lines.Close()
	d.idx.Close()
}
