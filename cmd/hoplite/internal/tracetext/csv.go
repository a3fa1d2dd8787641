package tracetext

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"

	"hoplite/mail/safe"
	"hoplite/mail/trace"
)

// CSV writes the hops as comma-separated values; text replaces names with
// pseudonyms.
func CSV(w io.Writer, t *trace.Trace, text func(string) string) error {
	c := csv.NewWriter(w)
	c.Write([]string{"index", "trust", "from", "from_ip", "from_rdns", "helo", "by", "with", "tls_version", "tls_cipher", "id", "for", "date", "corrected_time", "delay_s", "delay_low_s", "delay_high_s", "reasons"})
	for _, h := range t.JSON().Hops {
		num := func(v *float64) string {
			if v == nil {
				return ""
			}
			return strconv.FormatFloat(*v, 'f', -1, 64)
		}
		row := []string{strconv.Itoa(h.Index), string(h.Trust), h.From, h.FromIP, h.FromRDNS, h.Helo, h.By, h.With, h.TLSVersion, h.TLSCipher, h.ID, h.For, h.Date, h.CorrectedTime,
			num(h.DelayS), num(h.DelayLowS), num(h.DelayHighS), strings.Join(h.Reasons, "; ")}
		for i := range row {
			row[i] = text(safe.Line(row[i]))
			// A spreadsheet must not interpret remote text as a formula.
			if len(row[i]) > 0 && strings.IndexByte("=+-@", row[i][0]) >= 0 {
				if _, err := strconv.ParseFloat(row[i], 64); err != nil {
					row[i] = "'" + row[i]
				}
			}
		}
		c.Write(row)
	}
	c.Flush()
	if err := c.Error(); err != nil {
		return fmt.Errorf("write CSV: %w", err)
	}
	return nil
}
