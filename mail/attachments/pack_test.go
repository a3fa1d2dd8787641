package attachments

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"testing"
	"unicode/utf16"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"hoplite/mail/attachments/attachmentstest"
)

var (
	exe      = attachmentstest.Program
	zipped   = attachmentstest.Zip
	b64      = attachmentstest.Base64
	attached = attachmentstest.Message
	named    = attachmentstest.Named
)

// Go cannot write bzip2. These are exe and 20 MiB of zeros, compressed with
// bzip2(1).
var (
	bzip2Exe   = unb64("QlpoOTFBWSZTWcHLqasAAATXoEgAQAAAAgAQIOPcAEAAIAAhqekAMm1ChppgAJREiGfM2UcczhvJCq+LuSKcKEhg5dTVgA==")
	bzip2Zeros = unb64("QlpoOTFBWSZTWegs7hwAoKDIAMAAAAIACCAAMMwFKaaBIE2EEgTxdyRThQkOgs7hwA==")
)

func unb64(text string) []byte {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		panic(err)
	}
	return b
}

func gzipped(t testing.TB, name string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Name = name
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func tarred(t testing.TB, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		if err := w.WriteHeader(&tar.Header{Name: files[i], Mode: 0o644, Size: int64(len(files[i+1]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(files[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func uuencoded(name string, data []byte) string {
	var b strings.Builder
	fmt.Fprintf(&b, "begin 644 %s\r\n", name)
	for len(data) > 0 {
		n := min(45, len(data))
		b.WriteByte(byte(' ' + n))
		line := append(bytes.Clone(data[:n]), 0, 0)
		for i := 0; i < n; i += 3 {
			v := uint32(line[i])<<16 | uint32(line[i+1])<<8 | uint32(line[i+2])
			for shift := 18; shift >= 0; shift -= 6 {
				c := byte(v>>shift) & 63
				if c == 0 {
					c = '`' - ' '
				}
				b.WriteByte(c + ' ')
			}
		}
		b.WriteString("\r\n")
		data = data[n:]
	}
	b.WriteString("`\r\nend\r\n")
	return b.String()
}

const hqxAlphabet = "!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr"

func binhexed(name string, data, resource []byte) string {
	var raw bytes.Buffer
	block := func(b []byte) {
		raw.Write(b)
		sum := crc16(crc16(0, b), []byte{0, 0})
		raw.Write(binary.BigEndian.AppendUint16(nil, sum))
	}
	head := append([]byte{byte(len(name))}, name...)
	head = append(head, 0)
	head = append(head, "TEXTttxt\x00\x00"...)
	head = binary.BigEndian.AppendUint32(head, uint32(len(data)))
	head = binary.BigEndian.AppendUint32(head, uint32(len(resource)))
	block(head)
	block(data)
	block(resource)
	var packed []byte
	for b := raw.Bytes(); len(b) > 0; {
		n := 1
		for n < len(b) && n < 255 && b[n] == b[0] {
			n++
		}
		packed = append(packed, b[0])
		if b[0] == 0x90 {
			packed = append(packed, 0)
			n = 1
		} else if n > 3 {
			packed = append(packed, 0x90, byte(n))
		} else {
			n = 1
		}
		b = b[n:]
	}
	text := []byte(":")
	for bits, n, i := uint32(0), 0, 0; i < len(packed) || n > 0; {
		if n < 6 && i < len(packed) {
			bits, n, i = bits<<8|uint32(packed[i]), n+8, i+1
			continue
		}
		if n < 6 {
			bits, n = bits<<(6-n), 6
		}
		n -= 6
		text = append(text, hqxAlphabet[bits>>n&63])
	}
	text = append(text, ':')
	out := "(This file must be converted with BinHex 4.0)\r\n\r\n"
	for len(text) > 64 {
		out += string(text[:64]) + "\r\n"
		text = text[64:]
	}
	return out + string(text) + "\r\n"
}

// tnefFileOf is an attachment for winmail.dat: a short name, a long name and
// the content. The content is an embedded message if it is TNEF.
type tnefFileOf struct {
	short, long string
	data        []byte
}

func tnefed(files ...tnefFileOf) []byte { return tnefIn(1252, files...) }

// tnefIn returns a winmail.dat file whose short names are in the given code
// page.
func tnefIn(page uint32, files ...tnefFileOf) []byte {
	b := []byte("\x78\x9f\x3e\x22\x01\x00")
	le := binary.LittleEndian
	attr := func(level byte, id uint32, data []byte) {
		b = append(b, level)
		b = le.AppendUint32(b, id)
		b = le.AppendUint32(b, uint32(len(data)))
		b = append(b, data...)
		sum := uint16(0)
		for _, c := range data {
			sum += uint16(c)
		}
		b = le.AppendUint16(b, sum)
	}
	attr(1, 0x00089006, []byte{0, 0, 1, 0}) // attTnefVersion
	attr(1, attOemCodepage, le.AppendUint32(le.AppendUint32(nil, page), 0))
	for _, f := range files {
		attr(2, attAttachRendData, make([]byte, 14))
		attr(2, attAttachTitle, append([]byte(f.short), 0))
		if f.long == "" { // a sender without Unicode
			attr(2, attAttachData, f.data)
			continue
		}
		var props []byte
		n := uint32(1)
		long := utf16.Encode([]rune(f.long + "\x00"))
		props = le.AppendUint16(props, 0x1f)
		props = le.AppendUint16(props, propAttachLongName)
		props = le.AppendUint32(props, 1)
		props = le.AppendUint32(props, uint32(2*len(long)))
		for _, u := range long {
			props = le.AppendUint16(props, u)
		}
		for len(props)%4 != 0 {
			props = append(props, 0)
		}
		if bytes.HasPrefix(f.data, tnefSig) {
			n++
			props = le.AppendUint16(props, 0x0d)
			props = le.AppendUint16(props, propAttachObject)
			props = le.AppendUint32(props, 1)
			props = le.AppendUint32(props, uint32(16+len(f.data)))
			props = append(props, "\x07\x03\x02\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46"...)
			props = append(props, f.data...)
			for len(props)%4 != 0 {
				props = append(props, 0)
			}
		} else {
			attr(2, attAttachData, f.data)
		}
		attr(2, attAttachment, append(le.AppendUint32(nil, n), props...))
	}
	return b
}

// wrappedCMS returns signed-data with the given content and no signers.
func wrappedCMS(t testing.TB, content string) []byte {
	t.Helper()
	context := cbasn1.Tag(0).ContextSpecific().Constructed()
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2})
		b.AddASN1(context, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1Int64(1)
				b.AddASN1(cbasn1.SET, func(*cryptobyte.Builder) {})
				b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1})
					b.AddASN1(context, func(b *cryptobyte.Builder) { b.AddASN1OctetString([]byte(content)) })
				})
				b.AddASN1(cbasn1.SET, func(*cryptobyte.Builder) {})
			})
		})
	})
	return b.BytesOrPanic()
}

func sealed(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("../cms/testdata/generated/e_rsa_aes256cbc.der")
	if err != nil {
		t.Fatal(err)
	}
	return b
}
