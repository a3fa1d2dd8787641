package trace

// Received is one line as `hoplite trace --received` prints it. What is not in
// the text is absent.
type Received struct {
	From         string   `json:"from,omitempty"`
	FromIP       string   `json:"from_ip,omitempty"`
	FromRDNS     string   `json:"from_rdns,omitempty"`
	Helo         string   `json:"helo,omitempty"`
	Ident        string   `json:"ident,omitempty"`
	By           string   `json:"by,omitempty"`
	ByIP         string   `json:"by_ip,omitempty"`
	Via          string   `json:"via,omitempty"`
	With         string   `json:"with,omitempty"`
	ID           string   `json:"id,omitempty"`
	For          string   `json:"for,omitempty"`
	EnvelopeFrom string   `json:"envelope_from,omitempty"`
	Auth         string   `json:"auth,omitempty"`
	TLSVersion   string   `json:"tls_version,omitempty"`
	TLSCipher    string   `json:"tls_cipher,omitempty"`
	Date         string   `json:"date,omitempty"`
	MTA          string   `json:"mta,omitempty"`
	Defects      []string `json:"defects"`
}

// Received puts the hop into the words of our JSON.
func (h *Hop) Received() Received {
	r := Received{
		From: h.From.Name, FromRDNS: h.From.RDNS, Helo: h.From.Helo, Ident: h.Ident, By: h.By.Name,
		Via: h.Via, With: h.With, ID: h.ID, For: h.For, EnvelopeFrom: h.EnvelopeFrom, Auth: h.Auth,
		TLSVersion: h.TLS.Version, TLSCipher: h.TLS.Cipher, Date: h.Stamp.RFC3339(), MTA: h.MTA.String(),
		Defects: h.Defects.List(),
	}
	if r.Defects == nil {
		r.Defects = []string{}
	}
	if h.From.Addr.IsValid() {
		r.FromIP = h.From.Addr.String()
	}
	if h.By.Addr.IsValid() {
		r.ByIP = h.By.Addr.String()
	}
	return r
}
