//go:build interop

package sieve_test

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestInteropPigeonhole runs each script on each message here and with Dovecot's
// sieve-test, and compares the actions.
func TestInteropPigeonhole(t *testing.T) {
	tool, err := exec.LookPath("sieve-test")
	if err != nil {
		t.Skip("sieve-test is missing")
	}
	dir := openDir(t)
	conf := pigeonholeConf(t, dir)
	known := differences(t)
	var ours, theirs time.Duration
	pairs, differ := 0, 0
	for _, s := range scripts(t) {
		file := filepath.Join(dir, s.name+".sieve")
		write(t, file, s.text)
		for _, m := range messages(t) {
			pairs++
			start := time.Now()
			got := describe(runScript(t, s.name, s.text, m.text))
			ours += time.Since(start)
			path := filepath.Join(dir, m.name+".eml")
			write(t, path, m.text)
			start = time.Now()
			out, err := exec.Command(tool, "-c", conf, "-f", "ann@example.com", "-r", "bob+x@example.org", file, path).Output()
			theirs += time.Since(start)
			want := pigeonhole(string(out))
			if err != nil {
				want = []string{"error"}
			}
			if slices.Equal(got, want) {
				continue
			}
			differ++
			if why := known[s.name]; why != "" {
				t.Logf("%s %s: %s", s.name, m.name, why)
				continue
			}
			t.Errorf("%s on %s:\n ours %q\n Pigeonhole %q", s.name, m.name, got, want)
		}
	}
	t.Logf("%d pairs, %d differ; ours %v, sieve-test (a process each) %v", pairs, differ, ours, theirs)
}

// openDir returns a folder that sieve-test's user can write.
func openDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "sieve")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if os.Getuid() == 0 {
		u, err := user.Lookup("nobody")
		if err != nil {
			t.Skip("no user nobody")
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		if err := os.Chown(dir, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func pigeonholeConf(t *testing.T, dir string) string {
	conf := filepath.Join(dir, "dovecot.conf")
	owner := ""
	if os.Getuid() == 0 {
		owner = "mail_uid = nobody\nmail_gid = nogroup\n"
	}
	write(t, conf, []byte(fmt.Sprintf(`mail_location = maildir:%[1]s/mail
log_path = /dev/stderr
first_valid_uid = 1
first_valid_gid = 1
%[2]splugin {
  sieve = %[1]s/none.sieve
  sieve_extensions = +editheader +vacation-seconds +special-use +ereject
  sieve_vacation_min_period = 0
}
namespace inbox {
  inbox = yes
  separator = /
}
`, dir, owner)))
	return conf
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// differences returns the scripts whose results differ, with the reason.
func differences(t *testing.T) map[string]string {
	b, err := os.ReadFile("testdata/differences.txt")
	if err != nil {
		t.Fatal(err)
	}
	known := make(map[string]string)
	for line := range strings.SplitSeq(string(b), "\n") {
		if name, why, ok := strings.Cut(line, ": "); ok {
			known[name] = why
		}
	}
	return known
}

var sieveFlags = regexp.MustCompile(`\+ add IMAP flags: (.*)`)

// pigeonhole returns the actions in the output of sieve-test.
func pigeonhole(out string) (list []string) {
	lines := strings.Split(out, "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		last := len(list) - 1
		switch {
		case strings.HasPrefix(line, " * store message in folder: "):
			list = append(list, "store "+strings.TrimPrefix(line, " * store message in folder: "))
		case strings.HasPrefix(line, " * redirect message to: "):
			list = append(list, "redirect "+strings.Trim(strings.TrimPrefix(line, " * redirect message to: "), "<>"))
		case strings.HasPrefix(line, " * reject message with reason: "):
			list = append(list, "reject "+strings.TrimSpace(strings.TrimPrefix(line, " * reject message with reason: ")))
		case strings.HasPrefix(line, " * send vacation message:"):
			list = append(list, "vacation")
		case strings.HasPrefix(line, "    => seconds : "), strings.HasPrefix(line, "    => subject : "):
			list[last] += " " + strings.TrimSpace(strings.SplitN(line, ": ", 2)[1])
		case strings.HasPrefix(line, " * send notification"):
			list = append(list, "notify")
		case strings.HasPrefix(line, "       + To: "):
			list[last] += " " + strings.TrimPrefix(line, "       + To: ")
		case strings.HasPrefix(line, " * discard"):
			list = append(list, "discard")
		case sieveFlags.MatchString(line):
			flags := strings.Fields(strings.ToLower(sieveFlags.FindStringSubmatch(line)[1]))
			slices.Sort(flags)
			list[last] += " " + strings.Join(flags, " ")
		}
	}
	slices.Sort(list)
	return list
}
