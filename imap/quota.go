package imap

import "hoplite/maildrop"

// quotaRoot is the only quota root. It covers all mailboxes in a box.
const quotaRoot = "account"

// handleGetQuota runs GETQUOTA (RFC 9208, 4.2.1).
func handleGetQuota(a *account, c *call) error {
	c.args.SP()
	root := c.args.AString()
	if err := c.args.End(); err != nil {
		return err
	}
	if root != quotaRoot {
		return nof("[NONEXISTENT] No such quota root")
	}
	return sendQuota(a, c)
}

// handleGetQuotaRoot runs GETQUOTAROOT (RFC 9208, 4.2.2).
func handleGetQuotaRoot(a *account, c *call) error {
	name, err := readName(a, c)
	if err != nil {
		return err
	}
	if _, err := a.box.Status(name); err != nil {
		return err
	}
	c.out.untagged("QUOTAROOT %s %q", a.names.encode(name), quotaRoot)
	return sendQuota(a, c)
}

func sendQuota(a *account, c *call) error {
	q, err := a.box.Quota()
	if err != nil {
		return err
	}
	c.out.untagged("QUOTA %q (%s)", quotaRoot, quotaResources(q))
	return nil
}

// quotaResources returns the usage and limit of each limited resource (RFC
// 9208, 5.1). The unit of STORAGE is KiB.
func quotaResources(q maildrop.Quota) []byte {
	var b []byte
	if q.SizeLimit > 0 {
		b = appendInt(append(b, "STORAGE "...), (q.Size+1023)/1024)
		b = appendInt(append(b, ' '), (q.SizeLimit+1023)/1024)
	}
	if q.MessagesLimit > 0 {
		if len(b) > 0 {
			b = append(b, ' ')
		}
		b = appendInt(append(b, "MESSAGE "...), q.Messages)
		b = appendInt(append(b, ' '), q.MessagesLimit)
	}
	return b
}
