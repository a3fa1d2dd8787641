package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A segment's header: magic (8), version (2), length of this header (2), 4 of
// zero, number (8), salt (8), birth in Unix seconds (8), where the segment before
// this one ends (8), CRC32C of all that (4).
const (
	segmentMagic   = "HOPLITEQ"
	segmentVersion = 2 // 1 was never released
	segmentHead    = 52
	segmentExt     = ".log"
)

// segment is one file of the log. Log.mu guards all but the constant fields.
type segment struct {
	num  uint64
	path string
	salt uint64
	born time.Time
	file *os.File // for reading, and for writing while it is the last

	before int64 // where the segment before this one ends

	size    int64 // synced octets
	live    int64 // octets of records that count
	mails   int   // live messages inside
	count   int   // live records inside
	sealed  bool
	failed  bool // a write or a sync did: the file is not used again
	damaged bool // kept for a person when it is empty
	removed bool // closed when the last reader ends
	refs    int
}

func segmentName(num uint64) string { return fmt.Sprintf("%012d%s", num, segmentExt) }

func (l *Log) logDir() string { return filepath.Join(l.opt.Dir, "log") }

// listSegments gives the numbers of the segments on disk, oldest first.
func listSegments(dir string) ([]uint64, error) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list segments: %w", err)
	}
	var nums []uint64
	for _, n := range names {
		digits, ok := strings.CutSuffix(n.Name(), segmentExt)
		if num, err := strconv.ParseUint(digits, 10, 64); ok && err == nil {
			nums = append(nums, num)
		}
	}
	slices.Sort(nums)
	return nums, nil
}

// createSegment makes the file durable, header and directory entry, before
// anything is written into it. before is where the segment before it ends. A
// spare file is used again: its blocks need no metadata to be written with them.
func (l *Log) createSegment(num uint64, before int64) (*segment, error) {
	path := filepath.Join(l.logDir(), segmentName(num))
	from := l.takeSpare(path + unfinished)
	s, err := l.startSegment(num, before, path, from)
	if err == nil {
		err = syncDir(l.logDir())
	}
	if err != nil {
		if s != nil {
			s.file.Close()
		}
		os.Remove(path)
		os.Remove(path + unfinished)
		return nil, fmt.Errorf("create segment %d: %w", num, err)
	}
	return s, nil
}

// startSegment writes the header into a new file, or into the one at from.
func (l *Log) startSegment(num uint64, before int64, path, from string) (s *segment, err error) {
	s = &segment{num: num, path: path, salt: l.salt, before: before, born: time.Now(), size: segmentHead}
	if from != "" {
		s.file, err = os.OpenFile(from, os.O_RDWR, 0)
	} else {
		s.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	}
	if err != nil {
		return nil, err
	}
	if err = l.opt.write(s.file, s.header()); err == nil {
		err = l.opt.sync(s.file)
	}
	if err == nil && from != "" {
		err = os.Rename(from, path)
	}
	return s, err
}

func (s *segment) header() []byte {
	b := make([]byte, 0, segmentHead)
	b = append(b, segmentMagic...)
	b = binary.LittleEndian.AppendUint16(b, segmentVersion)
	b = binary.LittleEndian.AppendUint16(b, segmentHead)
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, s.num)
	b = binary.LittleEndian.AppendUint64(b, s.salt)
	b = binary.LittleEndian.AppendUint64(b, uint64(s.born.Unix()))
	b = binary.LittleEndian.AppendUint64(b, uint64(s.before))
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

var errNoHeader = errors.New("segment without a header")

// openSegment reads a segment's header. errNoHeader means that the file was
// never finished and holds nothing.
func openSegment(path string, num uint64) (*segment, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("open segment: %w", err)
	}
	var b [segmentHead]byte
	n, err := f.ReadAt(b[:], 0)
	if err != nil && err != io.EOF {
		f.Close()
		return nil, fmt.Errorf("read segment %d: %w", num, err)
	}
	version := binary.LittleEndian.Uint16(b[8:])
	s := &segment{num: num, path: path, file: f, sealed: true}
	switch {
	case n >= 10 && string(b[:8]) == segmentMagic && version != segmentVersion:
		err = fmt.Errorf("segment %d has version %d, we know %d: %w", num, version, segmentVersion, ErrVersion)
	case n < segmentHead || string(b[:8]) != segmentMagic || binary.LittleEndian.Uint64(b[16:]) != num ||
		crc32.Checksum(b[:48], castagnoli) != binary.LittleEndian.Uint32(b[48:]):
		err = errNoHeader
	default:
		s.salt = binary.LittleEndian.Uint64(b[24:])
		s.born = time.Unix(int64(binary.LittleEndian.Uint64(b[32:])), 0)
		s.before = int64(binary.LittleEndian.Uint64(b[40:]))
		return s, nil
	}
	if err != errNoHeader {
		f.Close()
		return nil, err
	}
	return s, errNoHeader
}

// add and take keep a segment's account of live records.
func (s *segment) add(n int64, mail bool) {
	s.live += n
	s.count++
	if mail {
		s.mails++
	}
}

func (s *segment) take(n int64, mail bool) {
	s.live -= n
	s.count--
	if mail {
		s.mails--
	}
}

// release gives back a reader's reference.
func (l *Log) release(s *segment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.refs--; s.refs == 0 && s.removed {
		s.file.Close()
	}
}

// closeSegments ends the use of all files, those being read excepted.
func (l *Log) closeSegments() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.segs {
		if s.removed = true; s.refs == 0 {
			s.file.Close()
		}
	}
}

// fan spreads files over 256 folders.
func fan(id string) string {
	return fmt.Sprintf("%02x", crc32.Checksum([]byte(id), castagnoli)&0xff)
}

// syncDir makes new and removed names in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func sortedKeys(m map[string]*entry) []string { return slices.Sorted(maps.Keys(m)) }
