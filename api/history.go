package api

import (
	"encoding/hex"
	"net/http"
	"sort"
	"strconv"
	"time"

	"github.com/sluicegate/sluice/fsm"
)

// The history: every change of the configuration that is remembered, and the way back to an earlier one.

func (a *API) historyRoutes(rt *router) {
	rt.handle(http.MethodGet, "/history", a.history)
	rt.handle(http.MethodGet, "/history/verify", a.verifyHistory)
	rt.handle(http.MethodGet, "/history/{index}", a.historyItem)
	rt.handle(http.MethodPost, "/history/{index}/rollback", a.rollback)
	rt.handle(http.MethodGet, "/watch", a.watch)
}

// shownWrite is a change of the history as answers have it.
type shownWrite struct {
	Index   uint64        `json:"index"`
	Time    string        `json:"time"` // RFC 3339, of the node that was asked
	Who     string        `json:"who,omitempty"`
	Addr    string        `json:"from,omitempty"`
	Node    string        `json:"node,omitempty"`
	Action  string        `json:"action,omitempty"`
	Hash    string        `json:"hash"`
	Count   int           `json:"count"` // of changes
	Changes []shownChange `json:"changes"`
}

// changesListed is how many changes of a write a list shows; GET /history/{index} shows all.
const changesListed = 20

func (a *API) showWrite(c *fsm.Change, bodies bool) shownWrite {
	s := shownWrite{
		Index: c.Index, Time: time.Unix(c.Time, 0).UTC().Format(time.RFC3339), Who: c.Who, Addr: c.Addr, Node: c.Node,
		Action: c.Action, Hash: hex.EncodeToString(c.Hash[:]), Count: len(c.Entities),
	}
	entities := c.Entities
	if !bodies {
		entities = entities[:min(changesListed, len(entities))]
	}
	s.Changes = a.showChanges(entities, bodies)
	return s
}

// history answers GET /history: the newest change first. offset is the index before which the page begins.
func (a *API) history(q *request) (*reply, error) {
	v := q.view()
	all := v.History()
	p, err := parsePage(withoutOffset(q.query), 1, false)
	if err != nil {
		return nil, err
	}
	end := len(all)
	if text := q.query.Get("offset"); text != "" {
		before, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return nil, badRequest("'%s' is not a valid offset", text)
		}
		end = sort.Search(len(all), func(i int) bool { return all[i].Index >= before })
	}
	first := max(0, end-p.size)
	page := struct {
		Data []shownWrite `json:"data"`
		// Since is the index after which all changes are remembered.
		Since  uint64 `json:"since"`
		Offset string `json:"offset,omitempty"`
		Next   any    `json:"next"`
	}{Data: make([]shownWrite, 0, end-first)}
	page.Since, _ = v.HistoryBase()
	for i := end - 1; i >= first; i-- {
		page.Data = append(page.Data, a.showWrite(all[i], false))
	}
	if first > 0 {
		page.Offset = strconv.FormatUint(all[first].Index, 10)
		page.Next = "/history?offset=" + page.Offset + "&size=" + strconv.Itoa(p.size)
	}
	body, err := encodeJSON(page)
	if err != nil {
		return nil, err
	}
	return readReply(v, body), nil
}

// historyItem answers GET /history/{index}: one change with the entities before and after, secrets masked.
func (a *API) historyItem(q *request) (*reply, error) {
	index, err := strconv.ParseUint(q.params[0], 10, 64)
	if err != nil {
		return nil, errNotFound
	}
	v := q.view()
	all := v.History()
	i := sort.Search(len(all), func(i int) bool { return all[i].Index >= index })
	if i == len(all) || all[i].Index != index {
		return nil, errNotFound
	}
	body, err := encodeJSON(a.showWrite(all[i], true))
	if err != nil {
		return nil, err
	}
	return readReply(v, body), nil
}

// verifyHistory answers GET /history/verify: every link of the chain is computed anew on this node. Nodes whose
// hashes of the same index are equal have the same history.
func (a *API) verifyHistory(q *request) (*reply, error) {
	v := q.view()
	n, hash, err := v.VerifyHistory()
	answer := map[string]any{"ok": err == nil, "changes": n, "index": v.ConfigIndex(), "hash": hex.EncodeToString(hash[:])}
	answer["since"], _ = v.HistoryBase()
	status := http.StatusOK
	if err != nil {
		status, answer["message"] = http.StatusConflict, err.Error()
	}
	rep, err := jsonReply(status, answer)
	if err == nil {
		rep.index = v.ConfigIndex()
	}
	return rep, err
}

// rollback answers POST /history/{index}/rollback: it makes the configuration what it was after that change, by a
// new change. dry_run=1 tells what that would be.
func (a *API) rollback(q *request) (*reply, error) {
	dry, err := q.dry()
	if err != nil {
		return nil, err
	}
	if len(q.body.fields) > 0 {
		return nil, badRequest("a rollback takes no body")
	}
	rep := &reply{status: http.StatusOK}
	made, err := a.commitDraft(q, rep, dry, func(d *fsm.Draft) (bool, error) {
		then, err := asOf(a.view(), q.params[0])
		if err != nil {
			return false, err
		}
		return false, d.Become(then)
	})
	if err != nil {
		return rep, err
	}
	rep.body, err = encodeJSON(struct {
		Index   uint64        `json:"index,omitempty"`
		DryRun  bool          `json:"dry_run,omitempty"`
		Count   int           `json:"count"`
		Changes []shownChange `json:"changes"`
	}{made.index, dry, len(made.changes), a.showChanges(made.changes, dry)})
	return rep, err
}
