//go:build interop

package received

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Both scripts print the number of headers parsed and the time taken in
// seconds.
const (
	spamAssassin = `
use strict; use Mail::SpamAssassin; use Mail::SpamAssassin::Message; use Time::HiRes qw(time);
my $rounds = shift; local $/; my $text = <STDIN>;
my $sa = Mail::SpamAssassin->new({local_tests_only => 1, dont_copy_prefs => 1, config_text => "clear_internal_networks\n"});
my $per = () = $text =~ /^Received:/mg; my ($n, $took) = (0, 0);
for (1 .. $rounds) {
	my $mail = $sa->parse($text, 0);
	my $pms = Mail::SpamAssassin::PerMsgStatus->new($sa, $mail);
	my $meta = Mail::SpamAssassin::Message::Metadata->new($mail);
	my $start = time; $meta->parse_received_headers($pms, $mail); $took += time - $start; $n += $per;
	$pms->finish; $mail->finish;
}
print "$n $took\n";`
	rspamd = `
local task_of = require "rspamd_task"
local text = io.stdin:read("*a")
local n, took = 0, 0
for _ = 1, tonumber(rounds) do
	local _, task = task_of.load_from_string(text, rspamd_config)
	local start = os.clock()
	task:process_message()
	took = took + os.clock() - start
	n = n + #task:get_received_headers()
	task:destroy()
end
print(n .. " " .. took)`
)

// TestInteropBesideOtherParsers parses the table of Received fields with this
// parser, SpamAssassin and rspamd, and logs the rate of each. rspamd's rate is
// for whole messages with 50 fields.
func TestInteropBesideOtherParsers(t *testing.T) {
	var values [][]byte
	var message strings.Builder
	for i, c := range saTable(t) {
		values = append(values, []byte(c.Header))
		if i < 50 {
			message.WriteString("Received: " + strings.ReplaceAll(strings.TrimSpace(c.Header), "\r\n", "\n") + "\n")
		}
	}
	message.WriteString("Subject: x\n\nbody\n")

	const n = 200_000
	start := time.Now()
	for i := range n {
		Parse(values[i%len(values)])
	}
	ours := n / time.Since(start).Seconds()
	t.Logf("this parser: %.0f fields a second", ours)
	peer := func(name string, rounds int, there, cmd *exec.Cmd) {
		if err := there.Run(); err != nil {
			t.Logf("%s is not installed: make interop installs it", name)
			return
		}
		cmd.Stdin = strings.NewReader(message.String())
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, err := cmd.Output()
		f := strings.Fields(string(out))
		if err != nil || len(f) < 2 {
			t.Errorf("%s: %v\n%s%s", name, err, out, errs.String())
			return
		}
		count, err1 := strconv.ParseFloat(f[len(f)-2], 64)
		took, err2 := strconv.ParseFloat(f[len(f)-1], 64)
		if err1 != nil || err2 != nil || count < float64(rounds) {
			t.Errorf("%s said %q", name, out)
			return
		}
		t.Logf("%s: %.0f fields a second; this parser is %.1f times as fast", name, count/took, ours/(count/took))
	}
	peer("spamassassin", 100, exec.Command("perl", "-MMail::SpamAssassin", "-e", "1"), exec.Command("perl", "-e", spamAssassin, "100"))
	script := filepath.Join(t.TempDir(), "rate.lua")
	if err := os.WriteFile(script, []byte("local rounds = 2000\n"+rspamd), 0o600); err != nil {
		t.Fatal(err)
	}
	peer("rspamd", 2000, exec.Command("rspamadm", "help"), exec.Command("rspamadm", "lua", "-b", script))
}
