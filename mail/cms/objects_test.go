package cms

import (
	"bytes"
	"encoding/base64"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write testdata/objects.txt")

// describe returns what is read from an object, a line for each fact.
func describe(obj *Object) string {
	var b strings.Builder
	line := func(label, format string, args ...any) {
		if text := fmt.Sprintf(format, args...); text != "" {
			fmt.Fprintf(&b, "%s: %s\n", label, text)
		}
	}
	line("object", "%s %s, content %s, %d octets", obj.Type, obj.OID, obj.ContentType, obj.Size)
	if e := obj.Encrypted; e != nil {
		line("cipher", "%s, authenticated %v, %d recipients", e.Algorithm, e.AEAD, e.Count)
		for _, r := range e.Recipients {
			line("recipient", "%s, %s, %s", r.Kind, r.ID, r.Algorithm)
		}
	}
	if s := obj.Signed; s != nil {
		line("signed", "detached %v, digests %s, %d certificates, %d CRLs, %d others", s.Detached, strings.Join(s.Digests, " "), len(s.Certs), len(s.CRLs), s.Others)
		for _, sg := range s.Signers {
			line("signer", "%s, %s", sg.Algorithm, sg.Digest)
			if !sg.SigningTime.IsZero() {
				line("time", "%s", sg.SigningTime.UTC().Format(time.RFC3339))
			}
			line("attributes", "%s", strings.Join(sg.Attributes, " "))
			line("unsigned", "%s", strings.Join(sg.Unsigned, " "))
		}
	}
	return b.String()
}

// TestObjects compares what is read from each object of the corpus with
// testdata/objects.txt.
func TestObjects(t *testing.T) {
	var files []string
	for _, pattern := range []string{"generated/*.der", "openssl/*.cms", "openssl/*.der", "openssl/*.pem", "rfc4134/*.bin"} {
		found, err := filepath.Glob("testdata/" + pattern)
		if err != nil || len(found) == 0 {
			t.Fatal(pattern, err)
		}
		files = append(files, found...)
	}
	var got strings.Builder
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if text, ok := strings.CutPrefix(string(b), "-----BEGIN PKCS7-----"); ok {
			text, _, _ = strings.Cut(text, "-----END")
			if b, err = base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), "")); err != nil {
				t.Fatal(file, err)
			}
		} else if strings.HasSuffix(file, ".pem") || strings.HasSuffix(file, "ExContent.bin") {
			continue // certificates, keys and content
		}
		obj, err := Read(bytes.NewReader(b), Options{})
		name := strings.TrimPrefix(file, "testdata/")
		if err != nil {
			fmt.Fprintf(&got, "=== %s\nerror: %v\n\n", name, err)
			continue
		}
		if obj.Signed != nil && obj.Type == TypeSigned {
			if _, err := obj.Signed.Verify(nil); err != nil {
				t.Fatal(file, err)
			}
		}
		fmt.Fprintf(&got, "=== %s\n%s\n", name, describe(obj))
	}
	if *update {
		if err := os.WriteFile("testdata/objects.txt", []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/objects.txt")
	if err != nil {
		t.Fatal(err)
	}
	gots, wants := strings.Split(got.String(), "\n\n"), strings.Split(string(want), "\n\n")
	if len(gots) != len(wants) {
		t.Errorf("%d objects, want %d", len(gots), len(wants))
	}
	for i := range min(len(gots), len(wants)) {
		if gots[i] != wants[i] {
			t.Errorf("got\n%s\nwant\n%s", gots[i], wants[i])
		}
	}
}
