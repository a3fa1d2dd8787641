//go:build interop

package attachments

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// tool runs a Debian program. It skips the test if the program is not
// installed.
func tool(t *testing.T, stdin []byte, name string, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed: apt-get install sharutils uudeview tnef macutils 7zip gcab genisoimage libarchive-tools xz-utils zstd", name)
	}
	cmd := exec.Command(name, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, stderr.Bytes())
	}
	return out
}

// content returns data with runs, 0x90, all octet values, and a length without
// small factors.
func content() []byte {
	b := append([]byte(nil), exe...)
	for i := range 256 {
		b = append(b, byte(i))
	}
	b = append(b, bytes.Repeat([]byte{0x90}, 300)...)
	return append(b, bytes.Repeat([]byte("run\x00\x00\x00\x00"), 700)...)
}

// found checks that a message contains the content under the given name.
func found(t *testing.T, msg, name, via string) {
	t.Helper()
	for _, it := range list(t, msg, Limits{}) {
		if it.Name == name && it.Via == via && it.Unread == "" && it.Size == int64(len(content())) &&
			it.Kind == "application/vnd.microsoft.portable-executable" {
			return
		}
	}
	t.Errorf("%s by %s not found: %v", name, via, list(t, msg, Limits{}))
}

func TestInteropSharutils(t *testing.T) {
	for _, args := range [][]string{{"run.exe"}, {"-m", "run.exe"}} {
		text := string(tool(t, content(), "uuencode", args...))
		found(t, "Subject: x\r\n\r\nHi\r\n"+strings.ReplaceAll(text, "\n", "\r\n"), "run.exe", "uuencode")
		found(t, "Subject: x\n\nHi\n"+text, "run.exe", "uuencode")
	}
}

func TestInteropUudeview(t *testing.T) {
	file := filepath.Join(t.TempDir(), "run.exe")
	if err := os.WriteFile(file, content(), 0o600); err != nil {
		t.Fatal(err)
	}
	tool(t, nil, "uuenview", "-u", "-od", filepath.Dir(file), file)
	b, err := os.ReadFile(filepath.Join(filepath.Dir(file), "run.001"))
	if err != nil {
		t.Fatal(err)
	}
	found(t, "Subject: x\n\n"+string(b), "run.exe", "uuencode")
}

func TestInteropMacutils(t *testing.T) {
	dir := t.TempDir()
	data := content()
	file := filepath.Join(dir, "run.exe")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	hqx := tool(t, nil, "binhex", "-d", "run.exe")
	text := string(hqx)
	found(t, "Subject: x\r\n\r\nHi\r\n"+strings.ReplaceAll(text, "\n", "\r\n"), "run.exe", "binhex")
}

// TestInteropTNEF checks that tnef(1) and this package find the same files in
// winmail.dat and reject the same streams.
func TestInteropTNEF(t *testing.T) {
	dat := tnefed(tnefFileOf{"REPORT~1.EXE", "Report.exe", content()}, tnefFileOf{"B.TXT", "b.txt", []byte("hi")})
	out := string(tool(t, dat, "tnef", "--list"))
	for _, name := range []string{"Report.exe", "b.txt"} {
		if !strings.Contains(out, name) {
			t.Errorf("tnef does not see %s: %s", name, out)
		}
	}
	found(t, attached(named("application/ms-tnef", "winmail.dat"), dat), "Report.exe", "tnef")
}

// TestInteropArchives lists archives of run.exe and a text file that were
// created by other programs.
func TestInteropArchives(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for name, data := range map[string][]byte{"run.exe": content(), "a.txt": bytes.Repeat([]byte("hello\n"), 10_000)} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files := []string{"a.txt", "run.exe"}
	for _, c := range []struct {
		via  string
		file string
		args []string
	}{
		{"7z", "default.7z", []string{"7zz", "a", "-bso0", "default.7z"}},
		{"7z", "most.7z", []string{"7zz", "a", "-bso0", "-mx=9", "most.7z"}},
		{"7z", "ppmd.7z", []string{"7zz", "a", "-bso0", "-m0=PPMd", "ppmd.7z"}},
		{"7z", "bzip2.7z", []string{"7zz", "a", "-bso0", "-m0=BZip2", "bzip2.7z"}},
		{"7z", "apart.7z", []string{"7zz", "a", "-bso0", "-ms=off", "-mhc=off", "apart.7z"}},
		{"7z", "bsdtar.7z", []string{"bsdtar", "-acf", "bsdtar.7z"}},
		{"tar", "a.tar.xz", []string{"bsdtar", "-acf", "a.tar.xz"}},
		{"tar", "a.tar.zst", []string{"bsdtar", "-acf", "a.tar.zst"}},
		{"tar", "a.tar.lzma", []string{"bsdtar", "-acf", "a.tar.lzma"}},
		{"tar", "a.tar.bz2", []string{"bsdtar", "-acf", "a.tar.bz2"}},
		{"iso", "joliet.iso", []string{"genisoimage", "-quiet", "-J", "-o", "joliet.iso"}},
		{"iso", "bsdtar.iso", []string{"bsdtar", "-cf", "bsdtar.iso", "--format=iso9660"}},
	} {
		t.Run(c.file, func(t *testing.T) {
			tool(t, nil, c.args[0], append(c.args[1:], files...)...)
			b, err := os.ReadFile(c.file)
			if err != nil {
				t.Fatal(err)
			}
			found(t, attached(named("application/octet-stream", c.file), b), "run.exe", c.via)
		})
	}
	for _, args := range [][]string{{"xz", "-9"}, {"xz", "-T2", "--block-size=1000"}, {"xz", "--format=lzma"}, {"zstd", "-q"}} {
		packed := tool(t, content(), args[0], append(args[1:], "-c")...)
		for _, it := range list(t, attached(named("application/octet-stream", "run.exe"), packed), Limits{}) {
			if it.Unread != "" || it.Via != "mime" && it.Size != int64(len(content())) {
				t.Errorf("%v: %v", args, it)
			}
		}
	}
	tool(t, nil, "gcab", append([]string{"-c", "-z", "a.cab"}, files...)...)
	b, err := os.ReadFile("a.cab")
	if err != nil {
		t.Fatal(err)
	}
	items := list(t, attached(named("application/octet-stream", "a.cab"), b), Limits{})
	if n := len(items); n != 4 || items[n-1].Name != "run.exe" || items[n-1].Via != "cab" {
		t.Errorf("cabinet: %v", items)
	}
}
