package attachments

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"net/http"
	"strconv"
	"strings"

	"hoplite/mail/attachments/archive"
	"hoplite/mail/ole"
)

// magic identifies a type by octets at a fixed offset near the start.
type magic struct {
	at   int
	want string
	kind string
}

// magics lists the magic numbers in the order in which they are tried. Other
// content is passed to net/http, which detects the same types as browsers.
var magics = []magic{
	{0, "MZ", "application/vnd.microsoft.portable-executable"},
	{0, "\x7fELF", "application/x-elf"},
	{0, "\xfe\xed\xfa\xce", "application/x-mach-binary"},
	{0, "\xfe\xed\xfa\xcf", "application/x-mach-binary"},
	{0, "\xce\xfa\xed\xfe", "application/x-mach-binary"},
	{0, "\xcf\xfa\xed\xfe", "application/x-mach-binary"},
	{0, "\xca\xfe\xba\xbe", "application/java-vm"},
	{0, ole.Magic, oleKind},
	{0, "PK\x03\x04", zipKind},
	{0, "PK\x05\x06", zipKind},
	{0, "\x1f\x8b", "application/gzip"},
	{0, "Rar!\x1a\x07", "application/vnd.rar"},
	{0, "7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"},
	{0, "BZh", "application/x-bzip2"},
	{0, "\xfd7zXZ\x00", "application/x-xz"},
	{0, "\x28\xb5\x2f\xfd", "application/zstd"},
	{0, "LZIP", "application/x-lzip"},
	{0, "\x04\x22\x4d\x18", "application/x-lz4"},
	{0, "\x1f\x9d", "application/x-compress"},
	{0, "070701", "application/x-cpio"},
	{7, "**ACE**", "application/x-ace"},
	{0, "MSCF", "application/vnd.ms-cab-compressed"},
	{0, "ITSF", "application/vnd.ms-htmlhelp"},
	{0, "\x60\xea", "application/x-arj"},
	{2, "-lh", "application/x-lzh"},
	{257, "ustar", tarKind},
	{imageAt, "CD001", isoKind},
	{imageAt, "BEA01", "application/x-udf-image"},
	{0, "\x78\x9f\x3e\x22", tnefKind},
	{0, "%PDF-", "application/pdf"},
	{0, "{\\rtf", "application/rtf"},
	{0, "L\x00\x00\x00\x01\x14\x02\x00", "application/x-ms-shortcut"},
	{0, "#!", "text/x-script"},
	{0, "!<arch>", "application/x-archive"},
	{0, "\x4d\x53\x57\x49\x4d", "application/x-ms-wim"},
}

// Kinds of containers.
const (
	zipKind  = "application/zip"
	tarKind  = "application/x-tar"
	tnefKind = "application/ms-tnef"
	oleKind  = "application/x-ole-storage" // old Office documents and Outlook messages
	isoKind  = "application/x-iso9660-image"

	unknownKind = "application/octet-stream"
)

// headSize is the number of octets that kindOf needs. imageHead is the number
// it needs to recognise a disc image, whose magic number follows 16 arbitrary
// sectors.
const (
	headSize  = 4 << 10
	imageAt   = 16*2048 + 1
	imageHead = imageAt + 5
)

// kindOf detects the type of content from its first octets.
func kindOf(head []byte) string {
	for _, m := range magics {
		if len(head) >= m.at+len(m.want) && string(head[m.at:m.at+len(m.want)]) == m.want {
			return m.kind
		}
	}
	switch {
	case isCMS(head):
		return cmsKind
	case isTar(head):
		return tarKind
	case isLZMA(head):
		return "application/x-lzma"
	}
	if i := bytes.Index(head[:min(len(head), 1024)], []byte("%PDF-")); i >= 0 {
		return "application/pdf" // readers look for it in the first KiB
	}
	kind, _, _ := strings.Cut(http.DetectContentType(head), ";")
	return kind
}

// isTar reports whether a block is a valid header in any tar format, including
// that of Seventh Edition Unix, which has no magic number.
func isTar(head []byte) bool {
	const size, sumAt, sumEnd = 512, 148, 156
	if len(head) < size || head[0] == 0 {
		return false
	}
	want, err := strconv.ParseInt(strings.Trim(string(head[sumAt:sumEnd]), " \x00"), 8, 32)
	if err != nil {
		return false
	}
	sum := int64(0)
	for i, c := range head[:size] {
		if i >= sumAt && i < sumEnd {
			c = ' '
		}
		sum += int64(c)
	}
	return sum == want
}

// isLZMA reports whether content looks like the start of a .lzma file. Its
// header has no magic number, so isLZMA requires valid properties, a common
// dictionary size, a content size that is unknown or below 256 GiB, and a first
// data octet of zero.
func isLZMA(head []byte) bool {
	if len(head) < 14 || head[13] != 0 {
		return false
	}
	properties := head[0]
	lc, lp, pb := properties%9, properties/9%5, properties/45
	dictionary := binary.LittleEndian.Uint32(head[1:])
	size := binary.LittleEndian.Uint64(head[5:])
	high := uint32(1) << (bits.Len32(dictionary|1) - 1)
	return pb <= 4 && lc+lp <= 4 && dictionary >= 4096 &&
		(dictionary == high || dictionary == high|high>>1 || dictionary == 1<<32-1) &&
		(size == 1<<64-1 || size > 0 && size < 256<<30)
}

// closed lists the kinds of archives that are recognised but not opened.
var closed = map[string]bool{
	"application/x-arj": true, "application/x-lzh": true, "application/x-ms-wim": true,
	"application/x-lzip": true, "application/x-lz4": true, "application/x-compress": true,
	"application/x-cpio": true, "application/x-ace": true, "application/x-udf-image": true,
}

// compact reports whether content of this kind may contain the signature of an
// archive by chance, or because an archive is stored in it.
func compact(kind string) bool {
	f := archive.Find(kind)
	return closed[kind] || f != nil && (f.Random || f.Name == "xz" || f.Name == "lzma" || f.Name == "zstd")
}

// runs lists extensions of files that may run a program when opened.
var runs = set("exe scr com pif bat cmd cpl msi msp mst lnk js jse vbs vbe wsf wsh ws hta ps1 psm1 psd1 jar jnlp " +
	"reg inf scf url chm hlp dll sys ocx drv gadget application appref-ms msc vb sct shb shs iso img vhd vhdx " +
	"xll xlam docm dotm xlsm xltm pptm potm ppam ppsm sldm one app command workflow sh run desktop dmg pkg deb rpm apk")

// shows lists harmless-looking extensions that may precede one of those.
var shows = set("pdf doc docx xls xlsx ppt pptx odt ods odp txt rtf csv jpg jpeg png gif bmp tif tiff heic mp3 mp4 mov avi zip htm html eml msg")

// starts lists the kinds of content that are programs.
var starts = map[string]bool{
	"application/vnd.microsoft.portable-executable": true, "application/x-elf": true,
	"application/x-mach-binary": true, "application/x-ms-shortcut": true, "application/vnd.ms-htmlhelp": true,
}

func set(words string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(words) {
		m[w] = true
	}
	return m
}

// Executable reports whether opening a file with this extension may run a
// program. The extension must be in lower case, without the dot.
func Executable(extension string) bool { return runs[extension] }
