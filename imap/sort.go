package imap

import (
	"errors"

	"hoplite/imap/order"
	"hoplite/imap/summary"
	"hoplite/maildrop"
)

// baseSortKeys holds the criteria of SORT (RFC 5256, 3).
var baseSortKeys = map[string]order.Compare{
	"ARRIVAL": order.Arrival,
	"SIZE":    order.Size,
	"DATE":    order.Date,
	"SUBJECT": order.ByText(summary.Subject),
	"FROM":    order.ByText(summary.MailFrom),
	"TO":      order.ByText(summary.MailTo),
	"CC":      order.ByText(summary.MailCc),
}

// relevancySortKeys holds the criterion of SEARCH=FUZZY (RFC 6203, 5).
var relevancySortKeys = map[string]order.Compare{"RELEVANCY": order.Relevancy}

// displaySortKeys holds the criteria of SORT=DISPLAY (RFC 5957).
var displaySortKeys = map[string]order.Compare{
	"DISPLAYFROM": order.ByText(summary.ShowFrom),
	"DISPLAYTO":   order.ByText(summary.ShowTo),
}

// handleSort runs SORT and UID SORT (RFC 5256, RFC 5267, RFC 5957).
func handleSort(m *mailbox, c *call) error {
	c.args.SP()
	args := c.args.Sort()
	if err := c.args.End(); err != nil {
		return err
	}
	keys := make([]order.Key, 0, len(args.Sort))
	summaries := false
	for _, k := range args.Sort {
		compare := m.session().srv.dialect.sortKeys[k.Name]
		if compare == nil {
			return badf("Unknown SORT criterion %s", k.Name)
		}
		keys = append(keys, order.Key{Compare: compare, Reverse: k.Reverse})
		switch k.Name {
		case "ARRIVAL", "SIZE":
		case "RELEVANCY":
			if !args.Fuzzy {
				return badf("RELEVANCY needs FUZZY")
			}
		default:
			summaries = true
		}
	}
	found, err := search(m, c, &args)
	if err != nil {
		return err
	}
	rows, err := rowsOf(m, c, found, summaries)
	if err != nil {
		return err
	}
	found = order.Sort(rows, keys)
	if args.Return.Save {
		m.view.save(args.Return, found)
	}
	sendFound(m, c, &args, found)
	return nil
}

// threader is a threading algorithm.
type threader func([]order.Row) ([]*order.Thread, error)

func byOrderedSubject(rows []order.Row) ([]*order.Thread, error) { return order.BySubject(rows), nil }

// handleThread runs THREAD and UID THREAD (RFC 5256).
func handleThread(m *mailbox, c *call) error {
	c.args.SP()
	args := c.args.Thread()
	if err := c.args.End(); err != nil {
		return err
	}
	run := m.session().srv.dialect.threads[args.Algorithm]
	if run == nil {
		return badf("Unknown threading algorithm")
	}
	found, err := search(m, c, &args)
	if err != nil {
		return err
	}
	rows, err := rowsOf(m, c, found, true)
	if err != nil {
		return err
	}
	threads, err := run(rows)
	if errors.Is(err, order.ErrTooComplex) {
		return errSearchLimit
	}
	if err != nil {
		return err
	}
	sendThreads(c.out, threads)
	return nil
}

func sendThreads(out output, threads []*order.Thread) {
	out.WriteString("* THREAD")
	if len(threads) > 0 {
		out.WriteString(" ")
	}
	var b []byte
	for _, t := range threads {
		b = t.Append(b[:0])
		out.Write(b)
	}
	out.WriteString("\r\n")
}

// rowsOf collects the data for sorting, without expunged messages.
func rowsOf(m *mailbox, c *call, found []int, summaries bool) ([]order.Row, error) {
	if summaries {
		if err := m.prepare(c, found, false); err != nil {
			return nil, err
		}
	}
	rows := make([]order.Row, 0, len(found))
	for _, i := range found {
		msg := m.view.Messages[i]
		r := order.Row{Index: i, Number: m.view.number(i, c.uid), Size: msg.Wire, Arrived: msg.InternalDate().Unix()}
		if m.relevancy != nil {
			r.Relevancy = m.relevancy[i]
		}
		if summaries {
			var err error
			switch r.Summary, err = summaryOf(m.folder, msg, false); {
			case errors.Is(err, maildrop.ErrNoMessage):
				continue
			case errors.Is(err, maildrop.ErrUnreadable):
				r.Summary = summary.OfHeader(nil)
			case err != nil:
				return nil, err
			}
			r.Sent, _ = r.Summary.Sent(msg.InternalDate())
		}
		rows = append(rows, r)
	}
	return rows, nil
}
