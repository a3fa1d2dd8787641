package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"hoplite/relay/queue/journal"
)

// A segment's header: magic (8 octets), version (2), length of this header (2),
// zero (4), number (8), salt (8), creation time in Unix seconds (8), end of the
// previous segment (8), CRC32C of the preceding fields (4).
const (
	segmentMagic   = "HOPLITEQ"
	segmentVersion = 2 // version 1 was never released
	segmentHead    = 52
	segmentExt     = ".log"
)

// segment is one file of the log. The catalog's lock guards the fields from
// size onwards; the others never change.
type segment struct {
	num  uint64
	path string
	salt uint64
	born time.Time
	file *os.File // for reading, and for writing while it is the newest segment

	before int64 // end of the previous segment

	size    int64 // in octets, up to the last sync
	live    int64 // octets of records still needed
	mails   int   // messages whose content is in the segment
	count   int   // records still needed
	sealed  bool  // no longer written to
	failed  bool  // a write or sync failed: the file is not reused
	damaged bool  // kept for inspection when no longer needed
	removed bool  // no longer in the catalog; closed when the last reader releases it
	refs    int   // readers
}

func segmentName(num uint64) string { return fmt.Sprintf("%012d%s", num, segmentExt) }

// listSegments returns the numbers of the segments on disk, oldest first.
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

// header returns the contents of the segment's header.
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

var errNoHeader = errors.New("segment has no valid header")

// openSegment reads a segment's header. It returns the segment with errNoHeader
// if a crash left the file before its header was synced.
func openSegment(path string, num uint64, readOnly bool) (*segment, error) {
	flags := os.O_RDWR
	if readOnly {
		flags = os.O_RDONLY
	}
	f, err := os.OpenFile(path, flags, 0)
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
		err = fmt.Errorf("segment %d has version %d, this program reads %d: %w", num, version, segmentVersion, journal.ErrVersion)
	case n < segmentHead || string(b[:8]) != segmentMagic || binary.LittleEndian.Uint64(b[16:]) != num ||
		crc32.Checksum(b[:48], castagnoli) != binary.LittleEndian.Uint32(b[48:]):
		err = errNoHeader
	default:
		s.salt = binary.LittleEndian.Uint64(b[24:])
		s.born = time.Unix(int64(binary.LittleEndian.Uint64(b[32:])), 0)
		if now := time.Now(); s.born.After(now) { // written while the clock was wrong
			s.born = now
		}
		s.before = int64(binary.LittleEndian.Uint64(b[40:]))
		return s, nil
	}
	if err != errNoHeader {
		f.Close()
		return nil, err
	}
	return s, errNoHeader
}

// add counts a live record; mail is set if it contains a message.
func (s *segment) add(n int64, mail bool) {
	s.live += n
	s.count++
	if mail {
		s.mails++
	}
}

// take removes a record from the counts.
func (s *segment) take(n int64, mail bool) {
	s.live -= n
	s.count--
	if mail {
		s.mails--
	}
}
