//go:build interop && linux

package trust

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-milter"

	"hoplite/internal/resolve/resolvetest"
	"hoplite/mail"
	"hoplite/mail/authres"
)

// nameserver is where the zone is served. Judges that cannot use another port than
// 53 run in a mount name space whose resolv.conf names it.
const nameserver = "127.0.0.114"

// judgeOf is another program. It has no opinion on results that are empty.
type judgeOf struct {
	name  string
	judge func(c *Case, ours Results) (Results, error)
}

// place is a folder that daemons with accounts of their own can use; its name is
// short, because a socket's may have 107 octets at most.
func place(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "trust")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// daemon starts a program, with our resolv.conf, and waits until it listens.
func daemon(t *testing.T, dir, network, addr string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath(args[0]); err != nil {
		t.Skipf("%s is not installed: make interop installs it", args[0])
	}
	write(t, dir+"/resolv.conf", "nameserver "+nameserver+"\n")
	script := `mount --bind "$0/resolv.conf" /etc/resolv.conf && exec "$@"`
	cmd := exec.Command("unshare", append([]string{"-m", "--propagation", "private", "sh", "-c", script, dir}, args...)...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); <-ended })
	for range 600 {
		if conn, err := net.Dial(network, addr); err == nil {
			conn.Close()
			return
		}
		select {
		case <-ended:
			t.Fatalf("%s ended: %s", args[0], said.String())
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Fatalf("%s does not listen", args[0])
}

// milterFields passes a message through a milter and returns the header fields
// that it adds.
func milterFields(client *milter.Client, c *Case, extra string) (textproto.MIMEHeader, error) {
	s, err := client.Session()
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if _, err := s.Conn(c.Helo, milter.FamilyInet, 25, c.IP); err != nil {
		return nil, err
	}
	if _, err := s.Helo(c.Helo); err != nil {
		return nil, err
	}
	if err := s.Macros(milter.CodeMail, "i", "q"+c.Name); err != nil {
		return nil, err
	}
	if _, err := s.Mail(c.From, nil); err != nil {
		return nil, err
	}
	if _, err := s.Rcpt("bob@receiver.example", nil); err != nil {
		return nil, err
	}
	head, body, _ := strings.Cut(extra+string(c.Text), "\r\n\r\n")
	for f := range mail.Fields([]byte(head + "\r\n\r\n")) {
		name, value, _ := strings.Cut(strings.TrimSuffix(string(f.Raw), "\r\n"), ":")
		if a, err := s.HeaderField(name, strings.TrimPrefix(strings.ReplaceAll(value, "\r\n", "\n"), " ")); err != nil || a.Code != milter.ActContinue {
			return nil, fmt.Errorf("header: %v %w", a, err)
		}
	}
	if a, err := s.HeaderEnd(); err != nil || a.Code != milter.ActContinue {
		return nil, err // accepted: there is nothing to do
	}
	actions, _, err := s.BodyReadFrom(strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	fields := textproto.MIMEHeader{}
	for _, a := range actions {
		if a.Code == milter.ActAddHeader || a.Code == milter.ActInsertHeader {
			fields.Add(a.HeaderName, a.HeaderValue)
		}
	}
	return fields, nil
}

// found returns the results in Authentication-Results fields.
func found(fields textproto.MIMEHeader) ([]mail.AuthResult, error) {
	var all []mail.AuthResult
	for _, v := range fields["Authentication-Results"] {
		h, err := authres.Parse([]byte(strings.ReplaceAll(v, "\n", "\r\n")))
		if err != nil {
			return nil, fmt.Errorf("%q: %w", v, err)
		}
		all = append(all, h.Results...)
	}
	return all, nil
}

// opendkim verifies signatures, as a milter.
func opendkim(t *testing.T) judgeOf {
	dir := place(t)
	sock := dir + "/sock"
	conf := write(t, dir+"/conf", fmt.Sprintf("Mode v\nAuthservID judge.example\nAlwaysAddARHeader yes\nNameservers %s\nBackground no\nSyslog no\nOn-Default accept\nOn-DNSError accept\nDNSTimeout 3\nMinimumKeyBits 1024\n", nameserver))
	daemon(t, dir, "unix", sock, "/usr/sbin/opendkim", "-f", "-x", conf, "-p", "local:"+sock)
	client := milter.NewClientWithOptions("unix", sock, milter.ClientOptions{ActionMask: milter.OptAddHeader | milter.OptChangeHeader})
	t.Cleanup(func() { client.Close() })
	return judgeOf{"opendkim", func(c *Case, _ Results) (Results, error) {
		fields, err := milterFields(client, c, "")
		if err != nil {
			return Results{}, err
		}
		all, err := found(fields)
		r := Results{DKIM: "none"}
		for _, a := range all {
			if a.Method == "dkim" {
				r.DKIM = better(r.DKIM, a.Value)
			}
		}
		return r, err
	}}
}

// opendmarc evaluates the policy from our results of SPF and DKIM, as a milter.
func opendmarc(t *testing.T) judgeOf {
	dir := place(t)
	sock := dir + "/sock"
	conf := write(t, dir+"/conf", fmt.Sprintf("AuthservID judge.example\nTrustedAuthservIDs judge.example\nBackground false\nSyslog false\nIgnoreHosts %s\nPublicSuffixList /usr/share/publicsuffix/public_suffix_list.dat\nRequiredHeaders false\nRejectFailures false\n",
		write(t, dir+"/ignore", "203.0.113.1\n")))
	daemon(t, dir, "unix", sock, "/usr/sbin/opendmarc", "-f", "-c", conf, "-p", "local:"+sock)
	client := milter.NewClientWithOptions("unix", sock, milter.ClientOptions{ActionMask: milter.OptAddHeader | milter.OptChangeHeader | milter.OptQuarantine})
	t.Cleanup(func() { client.Close() })
	return judgeOf{"opendmarc", func(c *Case, ours Results) (Results, error) {
		if c.From == "" {
			return Results{}, nil // it reads results for reverse paths only
		}
		var given []mail.AuthResult // with one result of SPF: opendmarc heeds the first
		for _, a := range ours.Auth {
			if a.Method == "spf" { // it reads domains only there
				_, domain, _ := strings.Cut(a.Props[0].Value, "@")
				a.Props = []mail.AuthProp{{Type: "smtp", Name: a.Props[0].Name, Value: cmp.Or(domain, a.Props[0].Value)}}
			}
			switch {
			case a.Method == "spf" && len(given) > 0:
				given[0] = a
			case a.Method == "spf" || a.Method == "dkim":
				given = append(given, a)
			}
		}
		fields, err := milterFields(client, c, strings.TrimSuffix(string(authres.Field("judge.example", given)), "\r\n")+"\r\n")
		if err != nil {
			return Results{}, err
		}
		all, err := found(fields)
		r := Results{SPF: ours.SPF, DKIM: ours.DKIM, DMARC: "none"}
		for _, a := range all {
			if a.Method == "dmarc" {
				r.DMARC = a.Value
			}
		}
		return r, err
	}}
}

// rspamd judges all mechanisms, over HTTP.
func rspamd(t *testing.T) judgeOf {
	dir := place(t)
	addr := "127.0.0.114:11999"
	conf := write(t, dir+"/conf", fmt.Sprintf(`
options {
  pidfile = "%[1]s/pid"; tempdir = "%[1]s"; hs_cache_dir = "%[1]s"; cache_file = "%[1]s/cache"; dynamic_conf = "%[1]s/dynamic"; rrd = ""; history_file = "";
  filters = "dkim,spf"; local_addrs = []; url_tld = "%[4]s"; control_socket = "%[1]s/control";
  dns { nameserver = ["%[2]s:53"]; timeout = 2s; retransmits = 1; sockets = 16; }
}
logging { type = "console"; level = "error"; }
lua = "/usr/share/rspamd/rules/rspamd.lua";
modules { path = "/usr/share/rspamd/plugins/"; }
spf { spf_cache_size = 1; }
dkim { dkim_cache_size = 1; time_jitter = 6h; }
arc {}
dmarc {}
actions { reject = 1000; }
worker "normal" { bind_socket = "%[3]s"; count = 2; }
`, dir, nameserver, addr, write(t, dir+"/suffixes", "com\nexample\n")))
	daemon(t, dir, "tcp", addr, "rspamd", "-f", "-i", "-c", conf)
	return judgeOf{"rspamd", func(c *Case, _ Results) (Results, error) {
		req, err := http.NewRequest("POST", "http://"+addr+"/checkv2", bytes.NewReader(c.Text))
		if err != nil {
			return Results{}, err
		}
		for name, value := range map[string]string{"IP": c.IP, "Helo": c.Helo, "Hostname": c.Helo, "From": c.From, "Rcpt": "bob@receiver.example", "Pass": "all"} {
			req.Header.Set(name, value)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return Results{}, err
		}
		defer resp.Body.Close()
		var answer struct{ Symbols map[string]any }
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
			return Results{}, err
		}
		r := Results{}
		for symbol := range answer.Symbols {
			if s, ok := rspamdSPF[symbol]; ok {
				r.SPF = s
			}
			if s, ok := rspamdDKIM[symbol]; ok {
				r.DKIM = better(r.DKIM, s)
			}
			if s, ok := rspamdARC[symbol]; ok {
				r.ARC = s
			}
			if s, ok := rspamdDMARC[symbol]; ok {
				r.DMARC = s
			}
		}
		return r, nil
	}}
}

// The symbols of rspamd and what they mean.
var (
	rspamdSPF = map[string]string{
		"R_SPF_ALLOW": "pass", "R_SPF_FAIL": "fail", "R_SPF_SOFTFAIL": "softfail", "R_SPF_NEUTRAL": "neutral",
		"R_SPF_NA": "none", "R_SPF_PERMFAIL": "permerror", "R_SPF_DNSFAIL": "temperror", "R_SPF_PLUSALL": "pass",
	}
	rspamdDKIM = map[string]string{
		"R_DKIM_ALLOW": "pass", "R_DKIM_REJECT": "fail", "R_DKIM_PERMFAIL": "fail", "R_DKIM_TEMPFAIL": "temperror", "R_DKIM_NA": "none",
	}
	rspamdARC = map[string]string{
		"ARC_ALLOW": "pass", "ARC_REJECT": "fail", "ARC_INVALID": "fail", "ARC_DNSFAIL": "temperror", "ARC_NA": "none",
	}
	rspamdDMARC = map[string]string{
		"DMARC_POLICY_ALLOW": "pass", "DMARC_POLICY_ALLOW_WITH_FAILURES": "pass", "DMARC_POLICY_REJECT": "fail", "DMARC_POLICY_QUARANTINE": "fail",
		"DMARC_POLICY_SOFTFAIL": "fail", "DMARC_NA": "none", "DMARC_BAD_POLICY": "permerror", "DMARC_DNSFAIL": "temperror",
	}
)

//go:embed testdata/judge.py
var pythonJudge string

// python judges with pyspf, dkimpy and, from our results, authheaders.
func python(t *testing.T) judgeOf {
	const interpreter = "/usr/bin/python3" // Debian's, with Debian's modules
	if err := exec.Command(interpreter, "-c", "import dkim, spf, authheaders").Run(); err != nil {
		t.Skip("python3-dkim, python3-spf and python3-authheaders are not installed: make interop installs them")
	}
	cmd := exec.Command(interpreter, "-W", "ignore", "-c", pythonJudge, nameserver)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	lines := bufio.NewReader(out)
	return judgeOf{"python", func(c *Case, ours Results) (Results, error) {
		ask := map[string]any{"text": c.Text, "ip": c.IP, "helo": c.Helo, "from": c.From, "from_domain": ours.From, "spf": ours.SPF}
		ask["mailfrom"] = c.From
		if c.From == "" {
			ask["mailfrom"] = "postmaster@" + c.Helo
		}
		for _, a := range ours.Auth {
			if a.Method == "dkim" && (a.Value == "pass" || ask["dkim"] == nil) {
				ask["dkim"], ask["dkim_domain"] = a.Value, a.Prop("header", "d")
			}
		}
		line, err := json.Marshal(ask)
		if err != nil {
			return Results{}, err
		}
		if _, err := in.Write(append(line, '\n')); err != nil {
			return Results{}, err
		}
		answer, err := lines.ReadBytes('\n')
		if err != nil {
			return Results{}, err
		}
		var r struct{ SPF, DKIM, ARC, DMARC string }
		err = json.Unmarshal(answer, &r)
		return Results{SPF: r.SPF, DKIM: r.DKIM, ARC: r.ARC, DMARC: r.DMARC}, err
	}}
}

// serve answers from the zones of all cases so far.
func serve(t *testing.T, answer func(ctx context.Context, query []byte, limit int) []byte) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	udp, err := net.ListenPacket("udp", nameserver+":53")
	if err != nil {
		t.Skipf("needs port 53 of %s: %v", nameserver, err)
	}
	tcp, err := net.Listen("tcp", nameserver+":53")
	if err != nil {
		t.Fatal(err)
	}
	context.AfterFunc(ctx, func() { udp.Close(); tcp.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := udp.ReadFrom(buf)
			if err != nil {
				return
			}
			if out := answer(ctx, append([]byte(nil), buf[:n]...), 512); out != nil {
				udp.WriteTo(out, from)
			}
		}
	}()
	go func() {
		for {
			conn, err := tcp.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				var size [2]byte
				for {
					if _, err := io.ReadFull(conn, size[:]); err != nil {
						return
					}
					query := make([]byte, int(size[0])<<8|int(size[1]))
					if _, err := io.ReadFull(conn, query); err != nil {
						return
					}
					out := answer(ctx, query, 65535)
					if _, err := conn.Write(append([]byte{byte(len(out) >> 8), byte(len(out))}, out...)); err != nil {
						return
					}
				}
			}()
		}
	}()
}

// difference is a line of testdata/differences.txt:
//
//	judge | mechanism | variant | ours | theirs | reason
//
// where * stands for every variant or result.
type difference struct {
	fields []string // without the reason
	line   string
}

func differences(t *testing.T) []difference {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "differences.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var list []difference
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.Split(line, " | ")
		if len(f) != 6 || f[5] == "" {
			t.Fatalf("testdata/differences.txt: %s", line)
		}
		list = append(list, difference{f[:5], line})
	}
	return list
}

// explained returns the line that lists a difference, or "".
func explained(list []difference, key string) string {
	f := strings.Split(key, " | ")
	for _, d := range list {
		alike := true
		for i, want := range d.fields {
			alike = alike && (want == "*" || want == f[i])
		}
		if alike {
			return d.line
		}
	}
	return ""
}

// compared is what a judge found in one run.
type compared struct {
	judge       string
	messages    int
	opinions    int
	differences map[string]int
	example     map[string]*Case
	took        time.Duration
}

// compare asks a judge about all cases, until the deadline.
func compare(t *testing.T, j judgeOf, cases []*Case, ours []Results, deadline time.Time) *compared {
	start := time.Now()
	r := &compared{judge: j.name, differences: map[string]int{}, example: map[string]*Case{}}
	for i, c := range cases {
		if time.Now().After(deadline) {
			break
		}
		theirs, err := j.judge(c, ours[i])
		if err != nil {
			t.Errorf("%s, message %s: %v", j.name, c.Name, err)
			break
		}
		r.messages++
		alike := true
		for _, m := range []struct{ name, variant, ours, theirs string }{
			{"spf", c.SPF, ours[i].SPF, theirs.SPF}, {"dkim", c.DKIM, ours[i].DKIM, theirs.DKIM},
			{"arc", c.ARC, ours[i].ARC, theirs.ARC}, {"dmarc", c.DMARC, ours[i].DMARC, theirs.DMARC},
		} {
			// DMARC follows from SPF and DKIM: it is compared if those agree.
			if m.theirs == "" || m.name == "dmarc" && !alike {
				continue
			}
			r.opinions++
			if m.ours == m.theirs {
				continue
			}
			if m.name != "arc" {
				alike = false
			}
			key := strings.Join([]string{j.name, m.name, m.variant, m.ours, m.theirs}, " | ")
			r.differences[key]++
			if r.example[key] == nil {
				r.example[key] = c
			}
		}
	}
	r.took = time.Since(start)
	return r
}

// TestInteropDifferential generates $MESSAGES messages, or as many as others judge
// in 40 seconds, and compares the results. make differential generates 5,000.
func TestInteropDifferential(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to serve the zone on port 53")
	}
	n, deadline, whole := 800, time.Now().Add(40*time.Second), false
	if s := os.Getenv("MESSAGES"); s != "" {
		whole = true
		if _, err := fmt.Sscan(s, &n); err != nil {
			t.Fatal(err)
		}
		deadline = time.Now().Add(time.Hour)
	}
	g, err := NewGenerator(5)
	if err != nil {
		t.Fatal(err)
	}
	cases, ours := make([]*Case, n), make([]Results, n)
	var zoneText strings.Builder
	for i := range cases {
		cases[i] = g.Generate()
		zoneText.WriteString(strings.Join(cases[i].Zone, "\n") + "\n")
	}
	zone, err := resolvetest.ParseZone(zoneText.String())
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range cases {
		if ours[i], err = judge(context.Background(), c, zone); err != nil {
			t.Fatal(err)
		}
	}
	serve(t, zone.Answer)
	known := differences(t)
	for name, open := range map[string]func(*testing.T) judgeOf{"opendkim": opendkim, "opendmarc": opendmarc, "rspamd": rspamd, "python": python} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := compare(t, open(t), cases, ours, deadline)
			total, lines := 0, map[string]bool{}
			for key, count := range r.differences {
				total += count
				line := explained(known, key)
				lines[line] = true
				if line == "" {
					t.Errorf("%s: %d times, for example message %s, not in testdata/differences.txt\n%s\n\n%s", key, count,
						r.example[key].Name, strings.Join(r.example[key].Zone, "\n"), r.example[key].Text)
				}
			}
			for _, d := range known {
				if whole && d.fields[0] == r.judge && !lines[d.line] {
					t.Errorf("this difference did not occur: %s", d.line)
				}
			}
			t.Logf("%d messages, %d results, %d of them differ in %d ways, %.0f s", r.messages, r.opinions, total, len(r.differences), r.took.Seconds())
		})
	}
}
