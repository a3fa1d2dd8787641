//go:build interop && linux

package trust

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
)

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
	daemon(t, "tcp", addr, "rspamd", "-f", "-i", "-c", conf)
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

// These map rspamd's symbols to results.
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
