package imap

import (
	"fmt"
	"strings"

	"hoplite/imap/order"
	"hoplite/imap/wire"
	"hoplite/internal/users/login"
)

// extensions lists the server's capabilities in the order in which they are
// announced. The first one is the base protocol.
var extensions = []extension{
	{
		name: "IMAP4rev1", announced: always,
		commands: baseCommands,
		uid:      baseUIDCommands,
		items:    baseItems,
		keys:     baseKeys,
		status:   baseStatus,
	},
	{name: "IMAP4rev2", announced: always, enable: (*account).enableRev2},
	// IMAP4rev2 includes LITERAL-, so the reader always accepts such literals.
	{name: "LITERAL+", announced: always},
	{name: "SASL-IR", announced: always, grammar: wire.InitialResponse},
	{name: "ID", announced: always, commands: map[string]command{"ID": anytime(handleID)}},
	{name: "ENABLE", announced: always, commands: map[string]command{"ENABLE": afterLogin(handleEnable)}},
	{name: "STARTTLS", announced: early, text: offerStartTLS, commands: map[string]command{"STARTTLS": beforeLogin(handleStartTLS)}},
	{name: "LOGINDISABLED", announced: early, text: loginDisabled},
	{name: "AUTH", announced: early, text: mechanisms, commands: map[string]command{"AUTHENTICATE": beforeLogin(handleAuthenticate)}},

	{name: "COMPRESS=DEFLATE", commands: map[string]command{"COMPRESS": afterLogin(handleCompress)}},
	{name: "CHILDREN"}, // attributes that LIST always returns
	{name: "NAMESPACE", commands: map[string]command{"NAMESPACE": afterLogin(handleNamespace)}},
	{name: "UNSELECT", commands: map[string]command{"UNSELECT": inMailbox(handleUnselect)}},
	{name: "UIDPLUS", uid: map[string]command{"EXPUNGE": inMailbox(handleUIDExpunge)}},
	{name: "MULTIAPPEND"}, // checked by handleAppend
	{name: "CATENATE", grammar: wire.Catenate},
	{name: "IDLE", commands: map[string]command{"IDLE": afterLogin(handleIdle)}},
	{
		name:     "MOVE",
		commands: map[string]command{"MOVE": numbered(handleMove)},
		uid:      map[string]command{"MOVE": inMailbox(handleMove)},
	},
	{
		name: "CONDSTORE", enable: (*account).enableCondstore, grammar: wire.Condstore,
		items:  map[wire.ItemKind]fetchItem{wire.ItemModSeq: {write: writeModSeq}},
		keys:   modSeqKeys,
		status: map[string]statusItem{"HIGHESTMODSEQ": count(func(f *figures) int64 { return int64(max(f.snap.ModSeq, 1)) })},
	},
	{name: "QRESYNC", enable: (*account).enableQResync, grammar: wire.QResync},
	{name: "ESEARCH", grammar: wire.ESearch},
	{name: "SEARCHRES", grammar: wire.SearchRes},
	{
		name:     "SORT",
		commands: map[string]command{"SORT": byNumber(handleSort)},
		uid:      map[string]command{"SORT": inMailbox(handleSort)},
		sortKeys: baseSortKeys,
	},
	{name: "SORT=DISPLAY", sortKeys: displaySortKeys},
	{name: "ESORT", grammar: wire.ESort},
	{name: "THREAD=ORDEREDSUBJECT", commands: threadCommand, uid: uidThreadCommand, threads: map[string]threader{"ORDEREDSUBJECT": byOrderedSubject}},
	{name: "THREAD=REFERENCES", commands: threadCommand, uid: uidThreadCommand, threads: map[string]threader{"REFERENCES": order.ByReferences}},
	{name: "THREAD=REFS", commands: threadCommand, uid: uidThreadCommand, threads: map[string]threader{"REFS": order.ByLatest}},
	{name: "I18NLEVEL=1"}, // summary.Casemap and summary.Fold
	{name: "WITHIN", keys: withinKeys},
	{name: "LIST-EXTENDED", grammar: wire.ListExtended},
	{name: "LIST-STATUS", grammar: wire.ListStatus},
	{name: "SPECIAL-USE", grammar: wire.SpecialUse},
	{name: "CREATE-SPECIAL-USE", grammar: wire.CreateSpecialUse},
	{
		name: "STATUS=SIZE",
		status: map[string]statusItem{
			"SIZE":            count(func(f *figures) int64 { return f.counts.Size }),
			"DELETED-STORAGE": count(func(f *figures) int64 { return f.counts.DeletedSize }),
		},
	},
	{
		name: "BINARY",
		items: map[wire.ItemKind]fetchItem{
			wire.ItemBinary:     {need: needFile, seen: true, check: checkBinary, write: writeBinary},
			wire.ItemBinarySize: {need: needFile, check: checkBinary, write: writeBinarySize},
		},
	},
	{name: "PREVIEW", items: map[wire.ItemKind]fetchItem{wire.ItemPreview: {need: needStructure, write: writePreview}}},
	{name: "SAVEDATE", items: map[wire.ItemKind]fetchItem{wire.ItemSaveDate: {write: writeSaveDate}}, keys: saveDateKeys},
	{
		name: "OBJECTID",
		items: map[wire.ItemKind]fetchItem{
			wire.ItemEmailID:  {write: writeEmailID},
			wire.ItemThreadID: {need: needHeader, write: writeThreadID},
		},
		keys:   objectIDKeys,
		status: map[string]statusItem{"MAILBOXID": func(b []byte, f *figures) []byte { return appendID(b, mailboxID(f.snap)) }},
	},
	{
		name: "QUOTA",
		commands: map[string]command{
			"GETQUOTA":     afterLogin(handleGetQuota),
			"GETQUOTAROOT": afterLogin(handleGetQuotaRoot),
		},
	},
	{name: "QUOTA=RES-STORAGE"},
	{name: "QUOTA=RES-MESSAGE"},
	{
		name:   "METADATA",
		enable: func(*account) {}, // permits responses about changes, which are optional
		commands: map[string]command{
			"GETMETADATA": afterLogin(handleGetMetadata),
			"SETMETADATA": afterLogin(handleSetMetadata),
		},
	},
	{name: "LIST-METADATA", grammar: wire.ListMetadata},
	{name: "UTF8=ACCEPT", enable: (*account).enableUTF8, grammar: wire.UTF8Accept},
	{
		name:     "REPLACE",
		commands: map[string]command{"REPLACE": numbered(handleReplace)},
		uid:      map[string]command{"REPLACE": inMailbox(handleReplace)},
	},
	{
		name:   "APPENDLIMIT",
		text:   func(s *session) string { return fmt.Sprintf("APPENDLIMIT=%d", int64(s.srv.cfg.AppendLimit)) },
		status: map[string]statusItem{"APPENDLIMIT": count(func(f *figures) int64 { return f.limit })},
	},
	{name: "UNAUTHENTICATE", text: offerUnauthenticate, commands: map[string]command{"UNAUTHENTICATE": afterLogin(handleUnauthenticate)}},
	{name: "MULTISEARCH", commands: map[string]command{"ESEARCH": afterLogin(handleESearch)}},
	{name: "CONTEXT=SEARCH", grammar: wire.Context, commands: map[string]command{"CANCELUPDATE": inMailbox(handleCancelUpdate)}},
	{name: "SEARCH=FUZZY", grammar: wire.Fuzzy, keys: fuzzyKeys, sortKeys: relevancySortKeys},
	{name: "PARTIAL", grammar: wire.Partial},
	{name: "INPROGRESS"}, // checked by call.begin
	{name: "UIDONLY", enable: (*account).enableUIDOnly},
	{name: "UIDBATCHES", commands: map[string]command{"UIDBATCHES": inMailbox(handleUIDBatches)}},
}

// baseCommands holds the commands of IMAP4rev1, including CHECK and LSUB, which
// are not in IMAP4rev2.
var baseCommands = map[string]command{
	"CAPABILITY": anytime(handleCapability),
	"NOOP":       anytime(handleNoop),
	"LOGOUT":     anytime(handleLogout),

	"LOGIN": beforeLogin(handleLogin),

	"SELECT":      afterLogin(handleSelect),
	"EXAMINE":     afterLogin(handleExamine),
	"CREATE":      afterLogin(handleCreate),
	"DELETE":      afterLogin(handleDelete),
	"RENAME":      afterLogin(handleRename),
	"SUBSCRIBE":   afterLogin(handleSubscribe),
	"UNSUBSCRIBE": afterLogin(handleUnsubscribe),
	"LIST":        afterLogin(handleList),
	"LSUB":        afterLogin(handleLsub),
	"STATUS":      afterLogin(handleStatus),
	"APPEND":      afterLogin(handleAppend),

	"CHECK":   inMailbox(handleCheck),
	"CLOSE":   inMailbox(handleClose),
	"EXPUNGE": inMailbox(handleExpunge),
	"SEARCH":  byNumber(handleSearch),
	"FETCH":   byNumber(handleFetch),
	"STORE":   byNumber(handleStore),
	"COPY":    numbered(handleCopy),
}

// baseUIDCommands holds the commands that can follow UID.
var baseUIDCommands = map[string]command{
	"SEARCH": inMailbox(handleSearch),
	"FETCH":  inMailbox(handleFetch),
	"STORE":  inMailbox(handleStore),
	"COPY":   inMailbox(handleCopy),
}

var (
	threadCommand    = map[string]command{"THREAD": byNumber(handleThread)}
	uidThreadCommand = map[string]command{"THREAD": inMailbox(handleThread)}
)

// offerStartTLS announces STARTTLS if the connection can be upgraded to TLS.
func offerStartTLS(s *session) string {
	if s.conn.CanTLS() {
		return "STARTTLS"
	}
	return ""
}

// loginDisabled announces LOGINDISABLED while passwords are refused because the
// connection lacks TLS.
func loginDisabled(s *session) string {
	if s.mayLogin() {
		return ""
	}
	return "LOGINDISABLED"
}

// mechanisms announces the AUTHENTICATE mechanisms.
func mechanisms(s *session) string {
	mechs := s.srv.env.Gate.Mechanisms(login.From(s.conn), s.cleartext())
	if len(mechs) == 0 {
		return ""
	}
	return "AUTH=" + strings.Join(mechs, " AUTH=")
}
