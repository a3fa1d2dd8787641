//go:build interop && linux

package trust

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"os"
	"os/exec"
	"testing"
)

//go:embed testdata/judge.py
var pythonJudge string

// python runs pyspf, dkimpy and, with our results as input, authheaders.
func python(t *testing.T) judgeOf {
	const interpreter = "/usr/bin/python3" // Debian's Python, which has Debian's modules
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
