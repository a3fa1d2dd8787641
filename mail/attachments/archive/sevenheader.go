package archive

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math/bits"

	"github.com/bodgit/sevenzip"
	"github.com/ulikunitz/xz/lzma"
)

// Limits on a 7-Zip directory.
const (
	sevenHead      = 32      // number of octets before the packed streams
	maxSevenHeader = 1 << 20 // maximum number of octets in a directory
	maxSevenCoders = 16      // maximum number of coders in a folder, and of streams in a coder
)

// The property identifiers in a directory (7zFormat.txt in the 7-Zip sources).
const (
	sevenEnd          = 0x00
	sevenHeader       = 0x01
	sevenMainStreams  = 0x04
	sevenFilesInfo    = 0x05
	sevenPackInfo     = 0x06
	sevenUnpackInfo   = 0x07
	sevenSubStreams   = 0x08
	sevenSize         = 0x09
	sevenCRC          = 0x0a
	sevenFolderInfo   = 0x0b
	sevenUnpackSizes  = 0x0c
	sevenUnpackNumber = 0x0d
	sevenEncoded      = 0x17
)

// The identifiers of coders.
const (
	coderCopy  = "\x00"
	coderLZMA  = "\x03\x01\x01"
	coderLZMA2 = "\x21"
	coderAES   = "\x06\xf1\x07\x01"
	coderPPMd  = "\x03\x04\x01"
	coderBzip2 = "\x04\x02\x02"
)

// smallCoders lists the coders that need little memory.
var smallCoders = map[string]bool{
	coderCopy:          true,
	"\x03":             true, // Delta
	"\x03\x03\x01\x03": true, // BCJ
	"\x03\x03\x01\x1b": true, // BCJ2
	"\x03\x03\x02\x05": true, // PPC
	"\x03\x03\x05\x01": true, // ARM
	"\x03\x03\x08\x05": true, // SPARC
	"\x0a":             true, // ARM64
	"\x04\x01\x08":     true, // Deflate
}

var errSeven = errors.New("damaged 7z directory")

// sevenFolders reads the directory in the same way as the library, and reserves
// the memory that the library needs.
func (w *walk) sevenFolders() ([]sevenFolder, error) {
	var head [sevenHead]byte
	if _, err := w.At.ReadAt(head[:], 0); err != nil {
		return nil, errSeven
	}
	at, size := le.Uint64(head[12:]), le.Uint64(head[20:])
	if at > uint64(w.Size) || size == 0 || size > uint64(w.Size) {
		return nil, errSeven
	}
	if size > maxSevenHeader {
		return nil, ErrFiles
	}
	b := make([]byte, size)
	if _, err := w.At.ReadAt(b, sevenHead+int64(at)); err != nil {
		return nil, errSeven
	}
	d := &sevenDir{b: b[1:]}
	if b[0] == sevenEncoded {
		plain, err := w.sevenEncoded(d)
		if err != nil {
			return nil, err
		}
		d = &sevenDir{b: plain[1:]}
		b = plain
	}
	if b[0] != sevenHeader {
		return nil, errSeven
	}
	files := d.header()
	if d.err != nil {
		return nil, d.err
	}
	if files > maxSevenHeader/16 {
		return nil, ErrFiles
	}
	// The library keeps a record of about 300 octets for each file, and the
	// names.
	need := 4*int64(len(b)) + int64(files)*300
	for _, f := range d.folders {
		if !f.encrypted && !f.unknown {
			need += f.memory
		}
	}
	return d.folders, w.take(need)
}

// sevenEncoded unpacks a compressed directory, which is described by an
// uncompressed one.
func (w *walk) sevenEncoded(d *sevenDir) ([]byte, error) {
	d.streams()
	switch {
	case d.err != nil:
		return nil, d.err
	case len(d.folders) != 1:
		return nil, errSeven
	}
	f := d.folders[0]
	if f.encrypted {
		return nil, ErrEncrypted
	}
	if len(f.coders) != 1 || len(f.sizes) != 1 || len(d.packed) == 0 {
		return nil, ErrMethod
	}
	if f.sizes[0] > maxSevenHeader {
		return nil, ErrFiles
	}
	if d.at > uint64(w.Size) || d.packed[0] > uint64(w.Size) {
		return nil, errSeven
	}
	if err := w.take(f.memory + 2*maxSevenHeader); err != nil {
		return nil, err
	}
	if err := w.Memory.Spend(2 * f.memory); err != nil { // the library does the same again
		return nil, err
	}
	in := io.NewSectionReader(w.At, sevenHead+int64(d.at), int64(d.packed[0]))
	var plain []byte
	err := try(func() error {
		out, err := f.coders[0].decode(in, f.sizes[0])
		if err == nil {
			plain, err = io.ReadAll(io.LimitReader(out, int64(f.sizes[0])))
		}
		return err
	})
	if errors.Is(err, ErrMethod) {
		return nil, err
	}
	if err != nil || len(plain) < 1 {
		return nil, errSeven
	}
	return plain, nil
}

// sevenFolder is a set of files compressed as one stream.
type sevenFolder struct {
	coders    []sevenCoder
	outs      int      // number of output streams of all coders
	sizes     []uint64 // of the outputs
	memory    int64    // memory needed by the coders
	encrypted bool
	unknown   bool // contains a coder that is not permitted
}

// sevenCoder is one step of the compression.
type sevenCoder struct {
	id         string
	properties []byte
}

// decode decompresses a directory of size octets.
func (c *sevenCoder) decode(in io.Reader, size uint64) (io.Reader, error) {
	switch {
	case c.id == coderCopy:
		return in, nil
	case c.id == coderLZMA && len(c.properties) == 5:
		head := le.AppendUint64(bytes.Clone(c.properties), size)
		return lzma.NewReader(io.MultiReader(bytes.NewReader(head), in))
	case c.id == coderLZMA2 && len(c.properties) == 1:
		return sevenLZMA2(c.properties, size, in)
	}
	return nil, ErrMethod
}

// The library allocates the dictionary that LZMA2 announces, whatever the size
// of the content.
func init() {
	sevenzip.RegisterDecompressor([]byte(coderLZMA2), func(properties []byte, size uint64, in []io.ReadCloser) (io.ReadCloser, error) {
		if len(in) != 1 || len(properties) != 1 {
			return nil, errSeven
		}
		out, err := sevenLZMA2(properties, size, in[0])
		if err != nil {
			return nil, err
		}
		return struct {
			io.Reader
			io.Closer
		}{out, in[0]}, nil
	})
}

// sevenLZMA2 decompresses content of size octets.
func sevenLZMA2(properties []byte, size uint64, in io.Reader) (io.Reader, error) {
	dictionary, ok := dictionary2(properties[0])
	if !ok {
		return nil, errSeven
	}
	dictionary = fitting(dictionary, size)
	states := sevenStates(size)
	chunks := &lzma2Chunks{in: bufio.NewReader(in), state: func() error {
		if states--; states < 0 {
			return errSeven
		}
		return nil
	}}
	return lzma.Reader2Config{DictCap: int(dictionary)}.NewReader2(chunks)
}

// sevenStates is how often LZMA2 content of size octets may begin with new
// properties. 7-Zip does that once per MiB at most.
func sevenStates(size uint64) int64 { return 4 + int64(min(size, 128<<20)>>18) }

// need returns the memory that a coder needs for an output of size octets; ok is
// false if the coder is not permitted.
func (c *sevenCoder) need(size uint64) (n int64, ok bool) {
	switch {
	case smallCoders[c.id]:
		return 128 << 10, true
	case c.id == coderBzip2:
		return bzip2Memory, true
	case c.id == coderLZMA && len(c.properties) == 5:
		return lzmaMemory + probabilities(c.properties[0]) + int64(min(uint64(le.Uint32(c.properties[1:])), size)), true
	case c.id == coderLZMA2 && len(c.properties) == 1:
		n, ok := dictionary2(c.properties[0])
		return lzmaMemory + int64(min(uint64(n), size)) + sevenStates(size)*lzmaState, ok
	case c.id == coderPPMd && len(c.properties) == 5:
		return lzmaMemory + int64(le.Uint32(c.properties[1:])), true
	}
	return 0, false
}

// sevenDir parses a directory. After the first error, all numbers are 0.
type sevenDir struct {
	b       []byte
	err     error
	at      uint64   // where the packed streams begin
	packed  []uint64 // their sizes
	folders []sevenFolder
}

func (d *sevenDir) fail() { d.b, d.err = nil, errSeven }

func (d *sevenDir) octet() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *sevenDir) octets(n int) []byte {
	if n > len(d.b) {
		d.fail()
		return nil
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

// number reads an integer. Its first octet has a 1 bit for each octet that
// follows.
func (d *sevenDir) number() uint64 {
	first := d.octet()
	more := bits.LeadingZeros8(^first)
	v := uint64(0)
	if more < 7 {
		v = uint64(first&(1<<(8-more)-1)) << (8 * more)
	}
	for i := range more {
		v |= uint64(d.octet()) << (8 * i)
	}
	return v
}

// count reads the number of elements that follow. It fails if there are more
// than most.
func (d *sevenDir) count(most int) int {
	n := d.number()
	if n > uint64(most) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *sevenDir) want(id byte) {
	if d.octet() != id && d.err == nil {
		d.fail()
	}
}

// header parses a directory after its first octet and returns the number of
// files in it. The rest of the directory cannot cost more than its own size.
func (d *sevenDir) header() (files int) {
	id := d.octet()
	if id == sevenMainStreams {
		d.streams()
		id = d.octet()
	}
	if id == sevenFilesInfo {
		return d.count(8 * len(d.b))
	}
	return 0
}

// streams parses the section that describes how the files are compressed.
func (d *sevenDir) streams() {
	id := d.octet()
	if id == sevenPackInfo {
		d.packInfo()
		id = d.octet()
	}
	if id == sevenUnpackInfo {
		d.unpackInfo()
		id = d.octet()
	}
	if id == sevenSubStreams {
		d.subStreams()
		id = d.octet()
	} else if len(d.folders) > 1 {
		d.fail() // each folder has one file, but the library reads all of them from the first
	}
	if id != sevenEnd {
		d.fail()
	}
}

func (d *sevenDir) packInfo() {
	d.at = d.number()
	n := d.count(len(d.b))
	id := d.octet()
	if id == sevenSize {
		for range n {
			d.packed = append(d.packed, d.number())
		}
		id = d.octet()
	}
	d.sums(id, n)
}

// sums skips checksums, if id announces them, and reads the end of the section.
func (d *sevenDir) sums(id byte, n int) {
	if id == sevenCRC {
		defined := n
		if d.octet() == 0 {
			defined = 0
			for _, c := range d.octets((n + 7) / 8) {
				defined += bits.OnesCount8(c)
			}
			defined = min(defined, n)
		}
		d.octets(4 * defined)
		id = d.octet()
	}
	if id != sevenEnd {
		d.fail()
	}
}

func (d *sevenDir) unpackInfo() {
	d.want(sevenFolderInfo)
	n := d.count(len(d.b))
	d.want(0) // 0: not stored elsewhere
	for range n {
		if d.err != nil {
			return
		}
		d.folders = append(d.folders, d.folder())
	}
	d.want(sevenUnpackSizes)
	if d.err != nil {
		return // the folders may be incomplete
	}
	for i := range d.folders {
		f := &d.folders[i]
		for range f.outs {
			f.sizes = append(f.sizes, d.number())
		}
		for k := range f.coders {
			c := &f.coders[k]
			need, ok := c.need(f.sizes[min(k, len(f.sizes)-1)])
			f.memory += need
			f.encrypted = f.encrypted || c.id == coderAES
			f.unknown = f.unknown || !ok
		}
	}
	d.sums(d.octet(), n)
}

// folder parses the coders of a folder and the connections between them.
func (d *sevenDir) folder() (f sevenFolder) {
	ins := 0
	for range d.count(maxSevenCoders) {
		const complex, hasProperties = 0x10, 0x20
		flags, in, out := d.octet(), 1, 1
		c := sevenCoder{id: string(d.octets(int(flags & 0xf)))}
		if flags&complex != 0 {
			in, out = d.count(maxSevenCoders), d.count(maxSevenCoders)
		}
		if flags&hasProperties != 0 {
			c.properties = d.octets(d.count(len(d.b)))
		}
		f.coders = append(f.coders, c)
		ins, f.outs = ins+in, f.outs+out
	}
	if f.outs == 0 || ins < f.outs {
		d.fail()
		return f
	}
	bonds := f.outs - 1
	for range 2 * bonds {
		d.number()
	}
	if packed := ins - bonds; packed > 1 {
		for range packed {
			d.number()
		}
	}
	return f
}

// subStreams parses the number of files in each folder, and their sizes.
func (d *sevenDir) subStreams() {
	each := make([]int, len(d.folders))
	files := 0
	id := d.octet()
	for i := range each {
		each[i] = 1
		if id == sevenUnpackNumber {
			each[i] = d.count(8 * len(d.b))
		}
		files += each[i]
	}
	if files > 8*maxSevenHeader {
		d.fail()
		return
	}
	if id == sevenUnpackNumber {
		id = d.octet()
	}
	if id == sevenSize {
		for _, n := range each {
			for range n - 1 {
				d.number()
			}
		}
		id = d.octet()
	}
	d.sums(id, files)
}
