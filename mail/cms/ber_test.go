package cms

import (
	"bytes"
	"compress/zlib"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// indefinite returns a constructed element of indefinite length.
func indefinite(identifier byte, content ...[]byte) []byte {
	return append(append([]byte{identifier, 0x80}, bytes.Join(content, nil)...), 0, 0)
}

// long returns an element whose length field is longer than DER allows.
func long(identifier byte, size int, content ...[]byte) []byte {
	body := bytes.Join(content, nil)
	out := []byte{identifier, 0x80 | byte(size)}
	for i := size - 1; i >= 0; i-- {
		out = append(out, byte(len(body)>>(8*i)))
	}
	return append(out, body...)
}

// TestFormsOfContent reads the same data in every form that BER allows (X.690,
// 8.1.3 and 8.7).
func TestFormsOfContent(t *testing.T) {
	const want = "Hello, world"
	segment := func(s string) []byte { return octet([]byte(s)) }
	for _, c := range []struct {
		name string
		der  []byte
	}{
		{"DER", info(oidData, octet([]byte(want)))},
		{"long lengths", long(0x30, 4, ident(oidData), long(0xa0, 3, long(0x04, 2, []byte(want))))},
		{"longest length", long(0x30, 8, ident(oidData), element(ctx(0), octet([]byte(want))))},
		{"indefinite outside", indefinite(0x30, ident(oidData), indefinite(0xa0, octet([]byte(want))))},
		{"definite in indefinite", indefinite(0x30, ident(oidData), element(ctx(0), octet([]byte(want))))},
		{"indefinite in definite", sequence(ident(oidData), indefinite(0xa0, octet([]byte(want))))},
		{"segments", info(oidData, indefinite(0x24, segment("Hello"), segment(", "), segment("world")))},
		{"segments, definite", info(oidData, long(0x24, 1, segment("Hello"), segment(", world")))},
		{"empty segments", info(oidData, indefinite(0x24, segment(""), segment(want), segment("")))},
		{"segments in segments", info(oidData, indefinite(0x24, indefinite(0x24, segment("Hello")), long(0x24, 1, segment(", "), indefinite(0x24, segment("world")))))},
		{"one octet each", info(oidData, indefinite(0x24, bytes.Join(func() (out [][]byte) {
			for _, c := range want {
				out = append(out, segment(string(c)))
			}
			return out
		}(), nil)))},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, r := range []io.Reader{bytes.NewReader(c.der), iotest.OneByteReader(bytes.NewReader(c.der)), iotest.DataErrReader(bytes.NewReader(c.der))} {
				var out bytes.Buffer
				obj, err := Read(r, Options{Content: &out})
				if err != nil || obj.Type != TypeData || out.String() != want || obj.Size != int64(len(want)) {
					t.Fatalf("%+v, %q, %v", obj, out.String(), err)
				}
			}
			for n := range c.der {
				if _, err := Read(bytes.NewReader(c.der[:n]), Options{}); err == nil {
					t.Fatalf("%d of %d octets were accepted", n, len(c.der))
				}
			}
		})
	}
}

// TestAfterTheObject checks that octets after an object are ignored.
func TestAfterTheObject(t *testing.T) {
	obj, err := Read(bytes.NewReader(append(info(oidData, octet([]byte("x"))), "rubbish"...)), Options{})
	if err != nil || obj.Size != 1 {
		t.Errorf("%+v, %v", obj, err)
	}
}

// TestRefused checks encodings that X.690 forbids, and objects that RFC 5652
// forbids.
func TestRefused(t *testing.T) {
	data := ident(oidData)
	for _, c := range []struct {
		name string
		der  []byte
		want string // substring of the error
	}{
		{"nothing", nil, "ends early"},
		{"one octet", []byte{0x30}, "ends early"},
		{"text", []byte("From: ann@example.org"), "not a CMS object"},
		{"a primitive SEQUENCE", []byte{0x10, 2, 5, 0}, "a primitive element instead of a constructed one"},
		{"a primitive of indefinite length", info(oidData, []byte{0x04, 0x80, 0, 0}), "a primitive element of indefinite length"},
		{"the reserved length 0xff", append([]byte{0x30, 0xff}, data...), "length too large"},
		{"nine octets of length", append([]byte{0x30, 0x89}, make([]byte, 9)...), "length too large"},
		{"a length above 2^62", append([]byte{0x30, 0x88}, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), "length too large"},
		{"a tag of five octets", []byte{0x3f, 0x81, 0x81, 0x81, 0x81, 0x81, 0x01, 0}, "tag number too large"},
		{"longer than its parent", sequence(data, []byte{0xa0, 0x7f, 0x04, 0x01, 'x'}), "longer than the one around it"},
		{"an inner element longer than its grandparent", sequence(data, indefinite(0xa0, []byte{0x04, 0x7f, 'x'})), "longer than the one around it"},
		{"no content", sequence(data), ""},
		{"an object identifier of no octets", info("", octet(nil)), "invalid object identifier"},
		{"an object identifier of 65 octets", info(oid(strings.Repeat("x", 65)), octet(nil)), "invalid object identifier"},
		{"a constructed object identifier", sequence([]byte{0x26, 3, 6, 1, 1}), "invalid object identifier"},
		{"data that is no OCTET STRING", info(oidData, number(1)), "no OCTET STRING"},
		{"a segment of another type", info(oidData, indefinite(0x24, number(1))), "no OCTET STRING in an OCTET STRING"},
		{"a context tag in segments", info(oidData, indefinite(0x24, element(ctx(0), octet(nil)))), "no OCTET STRING in an OCTET STRING"},
		{"signed-data without version", info(oidSigned, sequence(setOf())), "no version"},
		{"a version of 17 octets", info(oidSigned, sequence(long(0x02, 1, make([]byte, 17)))), "odd integer"},
		{"a version of no octets", info(oidSigned, sequence([]byte{2, 0})), "odd integer"},
		{"signed-data without digests", info(oidSigned, sequence(number(1), sequence(ident(oidData)))), "no digest algorithms"},
		{"signed-data without content", info(oidSigned, sequence(number(1), setOf(), setOf())), "no encapsulated content"},
		{"signed-data around another type", info(oidSigned, sequence(number(1), setOf(), sequence(ident(oidData), element(ctx(0), sequence())), setOf())), "no OCTET STRING as content"},
		{"signed-data without signers", info(oidSigned, sequence(number(1), setOf(), sequence(ident(oidData)), number(1))), "no set of signers"},
		{"signed-data cut off", info(oidSigned, sequence(number(1), setOf(), sequence(ident(oidData)))), ""},
		{"a signer that is none", info(oidSigned, sequence(number(1), setOf(), sequence(ident(oidData)), setOf(number(1)))), "signer 1: bad outline"},
		{"an empty signer", info(oidSigned, sequence(number(1), setOf(), sequence(ident(oidData)), setOf(sequence()))), "signer 1: bad outline"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Read(bytes.NewReader(c.der), Options{})
			var syntax *SyntaxError
			if !errors.As(err, &syntax) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

// TestTypes checks that every type is recognised, and that types that are not
// processed are named.
func TestTypes(t *testing.T) {
	for _, c := range []struct {
		id   string
		want Type
	}{
		{"1.2.840.113549.1.7.5", TypeDigested},
		{"1.2.840.113549.1.9.16.1.2", TypeAuthenticated},
		{"1.2.3.4", TypeUnknown},
		{"2.999.3", TypeUnknown}, // X.660: under 2, the second arc may exceed 39
	} {
		obj, err := Read(bytes.NewReader(info(mkoid(c.id), indefinite(0x30, sequence(number(1)), indefinite(0x31)))), Options{})
		if err != nil || obj.Type != c.want || obj.OID != c.id {
			t.Errorf("%s: %+v, %v", c.id, obj, err)
		}
	}
}

func TestObjectIdentifiers(t *testing.T) {
	for _, c := range []struct{ octets, want string }{
		{"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02", "1.2.840.113549.1.7.2"},
		{"\x00", "0.0"},
		{"\x27", "0.39"},
		{"\x28", "1.0"},
		{"\x4f", "1.39"},
		{"\x50", "2.0"},
		{"\x88\x37\x03", "2.999.3"},
		{"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "an invalid object identifier"},
	} {
		if got := oid(c.octets).dotted(); got != c.want {
			t.Errorf("%x: %s, want %s", c.octets, got, c.want)
		}
		if c.want != "an invalid object identifier" && string(mkoid(c.want)) != c.octets {
			t.Errorf("%s: %x", c.want, mkoid(c.want))
		}
	}
}

// TestSizeLimits tests every size limit at its exact value.
func TestSizeLimits(t *testing.T) {
	whole := info(oidData, octet(make([]byte, 1000)))
	if _, err := Read(bytes.NewReader(whole), Options{Max: int64(len(whole))}); err != nil {
		t.Errorf("as large as allowed: %v", err)
	}
	for _, max := range []int64{1, 10, int64(len(whole)) - 1} {
		if _, err := Read(bytes.NewReader(whole), Options{Max: max}); !errors.Is(err, ErrTooLarge) {
			t.Errorf("at most %d octets: %v", max, err)
		}
	}
	// A large declared length costs nothing.
	claimed := []byte("\x30\x84\x7f\xff\xff\xff\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01\xa0\x84\x7f\xff\xff\xf0\x04\x84\x7f\xff\xff\xe0")
	var syntax *SyntaxError
	if _, err := Read(bytes.NewReader(claimed), Options{}); !errors.As(err, &syntax) {
		t.Errorf("2 GiB claimed: %v", err)
	}
}

// deflated returns a CompressedData (RFC 3274).
func deflated(t *testing.T, algorithm []byte, content string) []byte {
	t.Helper()
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	if _, err := w.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return info(oidCompressed, sequence(number(0), algorithm, sequence(ident(oidData), element(ctx(0), octet(z.Bytes())))))
}

func TestCompressed(t *testing.T) {
	zipped := sequence(ident(oidZlib))
	content := strings.Repeat("Hello\r\n", 1000)
	good := deflated(t, zipped, content)
	var out bytes.Buffer
	obj, err := Read(iotest.OneByteReader(bytes.NewReader(good)), Options{Content: &out})
	if err != nil || obj.Type != TypeCompressed || out.String() != content || obj.Size != int64(len(content)) || obj.ContentType != "data" {
		t.Fatalf("%+v, %d octets, %v", obj, out.Len(), err)
	}
	if _, err := Read(bytes.NewReader(good), Options{MaxInflated: int64(len(content))}); err != nil {
		t.Errorf("as large as allowed: %v", err)
	}
	if _, err := Read(bytes.NewReader(good), Options{MaxInflated: int64(len(content)) - 1}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("one octet too large: %v", err)
	}
	for name, c := range map[string]struct {
		der  []byte
		want string
	}{
		"another algorithm": {deflated(t, algID("1.2.3.4"), "x"), "compressed with 1.2.3.4, which is not zlib"},
		"no algorithm":      {deflated(t, number(1), "x"), "compression: bad algorithm identifier"},
		"not compressed":    {info(oidCompressed, sequence(number(0), zipped, sequence(ident(oidData), element(ctx(0), octet([]byte("Hello")))))), "inflate: "},
		"cut off":           {info(oidCompressed, sequence(number(0), zipped, sequence(ident(oidData), element(ctx(0), octet([]byte("\x78\x9c\x4b")))))), "inflate: "},
	} {
		if _, err := Read(bytes.NewReader(c.der), Options{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	empty := info(oidCompressed, sequence(number(0), zipped, sequence(ident(oidData))))
	if obj, err := Read(bytes.NewReader(empty), Options{}); err != nil || obj.Size != 0 {
		t.Errorf("without content: %+v, %v", obj, err)
	}
}

// TestOthersErrors checks that errors from the reader or writer are returned
// unchanged and never reported as a fault in the message.
func TestOthersErrors(t *testing.T) {
	broken := errors.New("broken")
	der := info(oidData, octet([]byte("Hello")))
	packed := deflated(t, sequence(ident(oidZlib)), "Hello, world, hello, world")
	for name, err := range map[string]error{
		"reader":                readError(io.MultiReader(bytes.NewReader(der[:8]), iotest.ErrReader(broken)), nil),
		"reader, decompressing": readError(io.MultiReader(bytes.NewReader(packed[:len(packed)-20]), iotest.ErrReader(broken)), nil),
		"writer":                readError(bytes.NewReader(der), &failing{broken}),
		"writer, decompressing": readError(bytes.NewReader(deflated(t, sequence(ident(oidZlib)), "x")), &failing{broken}),
	} {
		var syntax *SyntaxError
		if !errors.Is(err, broken) || errors.As(err, &syntax) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := readError(idle{}, nil); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a reader that returns nothing: %v", err)
	}
}

func readError(r io.Reader, w io.Writer) error {
	_, err := Read(r, Options{Content: w})
	return err
}

type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

// envelope returns an EnvelopedData for the given recipients.
func envelope(id oid, recipients ...[]byte) []byte {
	content := sequence(ident(oidData), algID("2.16.840.1.101.3.4.1.2", octet(make([]byte, 16))), element(0x80, []byte("ciphertext")))
	return info(id, sequence(number(2), setOf(recipients...), content))
}

// TestRecipients checks the forms of a RecipientInfo (RFC 5652, 6.2).
func TestRecipients(t *testing.T) {
	rsaAlg, oaep := algID("1.2.840.113549.1.1.1"), "1.2.840.113549.1.1.7"
	name := sequence()
	key := octet([]byte("key"))
	wrap := algID("2.16.840.1.101.3.4.1.5")
	ecdh := algID("1.3.133.16.840.63.0.2", wrap)
	agree := func(alg []byte, keys ...[]byte) []byte {
		return element(ctx(1), number(3), element(ctx(0), number(0)), alg, sequence(keys...))
	}
	transport := func(alg []byte) []byte { return sequence(number(0), sequence(name, number(7)), alg, key) }
	for _, c := range []struct {
		name string
		rcpt []byte
		want Recipient
		err  string
	}{
		{"key transport", transport(rsaAlg), Recipient{"key transport", ", serial 07", "RSA"}, ""},
		{"key transport by key identifier", sequence(number(2), element(0x80, []byte("k1")), rsaAlg, key), Recipient{"key transport", "key 6b31", "RSA"}, ""},
		{"OAEP", transport(algID(oaep)), Recipient{"key transport", ", serial 07", "RSA-OAEP"}, ""},
		{"OAEP with parameters", transport(algID(oaep, sequence(element(ctx(0), algID(idSHA256)), element(ctx(1), algID("1.2.840.113549.1.1.8", algID(idSHA256)))))), Recipient{"key transport", ", serial 07", "RSA-OAEP"}, ""},
		{"OAEP, mask function without digest", transport(algID(oaep, sequence(element(ctx(1), algID("1.2.840.113549.1.1.8"))))), Recipient{}, "bad OAEP parameters"},
		{"OAEP, label without octets", transport(algID(oaep, sequence(element(ctx(2), algID("1.2.840.113549.1.1.9"))))), Recipient{}, "bad OAEP parameters"},
		{"OAEP, not a SEQUENCE", transport(algID(oaep, number(1))), Recipient{}, "bad OAEP parameters"},
		{"key agreement", agree(ecdh, sequence(sequence(name, number(7)), key)), Recipient{"key agreement", ", serial 07", mkoid("1.3.133.16.840.63.0.2").String() + ", " + mkoid("2.16.840.1.101.3.4.1.5").String()}, ""},
		{"key agreement without key wrap", agree(algID("1.3.133.16.840.63.0.2"), sequence(sequence(name, number(7)), key)), Recipient{}, "without a key wrap algorithm"},
		{"key agreement for nobody", agree(ecdh), Recipient{}, "key agreement without recipients"},
		{"key agreement without originator", element(ctx(1), number(3), ecdh, sequence()), Recipient{}, "bad originator"},
		{"shared key", element(ctx(2), number(4), sequence(octet([]byte("k1"))), wrap, key), Recipient{"shared key", "key 6b31", mkoid("2.16.840.1.101.3.4.1.5").String()}, ""},
		{"shared key without identifier", element(ctx(2), number(4), sequence(), wrap, key), Recipient{}, "bad key identifier"},
		{"password", element(ctx(3), number(0), element(ctx(0), ident("x")), wrap, key), Recipient{"password", "", mkoid("2.16.840.1.101.3.4.1.5").String()}, ""},
		{"password without derivation", element(ctx(3), number(0), wrap, key), Recipient{"password", "", mkoid("2.16.840.1.101.3.4.1.5").String()}, ""},
		{"password without version", element(ctx(3), wrap, key), Recipient{}, "bad key derivation"},
		{"other", element(ctx(4), ident(mkoid("1.2.3.4")), number(1)), Recipient{"other", "", "1.2.3.4"}, ""},
		{"other without type", element(ctx(4), number(1)), Recipient{}, "bad type"},
		{"a sixth kind", element(ctx(5), number(1)), Recipient{}, "unknown kind"},
		{"no key", sequence(number(0), sequence(name, number(7)), rsaAlg), Recipient{}, "bad key encryption"},
		{"no algorithm", sequence(number(0), sequence(name, number(7)), key), Recipient{}, "bad key encryption"},
		{"no version", sequence(sequence(name, number(7)), rsaAlg, key), Recipient{}, "bad version"},
		{"no identifier", sequence(number(0), rsaAlg, key), Recipient{}, "bad identifier"},
	} {
		t.Run(c.name, func(t *testing.T) {
			obj, err := Read(bytes.NewReader(envelope(oidEnveloped, c.rcpt)), Options{})
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), "recipient 1: ") || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if e := obj.Encrypted; e.Count != 1 || e.Recipients[0] != c.want || obj.Size != 10 || e.AEAD {
				t.Errorf("%+v, want %+v", e, c.want)
			}
		})
	}
}

// TestManyRecipients checks that all recipients are counted, and that only the
// first hundred are described.
func TestManyRecipients(t *testing.T) {
	one := sequence(number(0), sequence(sequence(), number(7)), algID("1.2.840.113549.1.1.1"), octet(nil))
	obj, err := Read(bytes.NewReader(envelope(oidAuthEnveloped, bytes.Repeat(one, maxListed+5))), Options{})
	if err != nil || obj.Encrypted.Count != maxListed+5 || len(obj.Encrypted.Recipients) != maxListed || !obj.Encrypted.AEAD {
		t.Errorf("%+v, %v", obj, err)
	}
	if _, err := Read(bytes.NewReader(envelope(oidEnveloped)), Options{}); err == nil || !strings.Contains(err.Error(), "no recipients") {
		t.Errorf("nobody: %v", err)
	}
}
