package api

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/fsm"
	"github.com/sluicegate/sluice/fsm/schema"
)

// Roles and tokens as entities: what is special about them, and the first token of a cluster.

const (
	memberToken     = "token"
	memberTokenHash = "token_hash"

	// tokenPrefix lets people, and tools that look for leaked secrets, see what a token is.
	tokenPrefix = "sluice_"
	tokenBytes  = 32

	firstTokenID   = "00000000-0000-4000-8000-00000000f125"
	firstTokenName = "first"
	// firstTokenRetry is how long the first token waits for a cluster that takes writes, from one try to the next.
	firstTokenRetry = time.Second
)

func builtIn(role string) bool { return role == RoleSuperAdmin || role == RoleReadOnly }

// newToken makes a token of 256 random bits.
func newToken() string {
	random := make([]byte, tokenBytes)
	_, _ = rand.Read(random) // never fails: the process ends instead
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(random)
}

// mintToken gives a new entity its token, unless a certificate takes its place.
func mintToken(entity map[string]any) (stored, once map[string]any) {
	if entity["subject"] != nil {
		return nil, nil
	}
	token := newToken()
	return map[string]any{memberTokenHash: hashOf(token)}, map[string]any{memberToken: token}
}

// checkToken demands roles that there are: a mistake in a name would be a token that may do nothing.
func checkToken(_ *API, v *fsm.View, entity map[string]any) error {
	roles, _ := entity["roles"].([]any)
	for _, role := range roles {
		if name, _ := role.(string); !builtIn(name) && v.Lookup(fsm.KindAdminRole, name) == nil {
			return schema.FieldViolation("roles", fmt.Sprintf("there is no role '%s'", name))
		}
	}
	return nil
}

// checkRole demands collections that there are, a name that is free, and that no token loses a role by its being
// renamed.
func checkRole(a *API, v *fsm.View, entity map[string]any) error {
	name, _ := entity["name"].(string)
	if builtIn(name) {
		return schema.FieldViolation("name", fmt.Sprintf("'%s' is built in", name))
	}
	permissions, _ := entity["permissions"].([]any)
	for _, p := range permissions {
		record, _ := p.(map[string]any)
		collections, _ := record["collections"].([]any)
		for _, c := range collections {
			if path, _ := c.(string); !a.grantable(path) {
				return schema.FieldViolation("permissions", fmt.Sprintf("there is no collection '%s': give the path of one, such as services, or node, or *", path))
			}
		}
	}
	id, _ := entity["id"].(string)
	if old := v.Get(fsm.KindAdminRole, id); old != nil {
		if role, ok := old.Value.(*fsm.AdminRole); ok && role.Name != name {
			return leaveRole(v, old)
		}
	}
	return nil
}

// grantable says whether permissions may name a collection. Roles and tokens are for super-admins alone: whoever
// could change them could do everything.
func (a *API) grantable(path string) bool {
	return path == everything || path == collectionNode ||
		slices.ContainsFunc(a.collections, func(c *collection) bool { return c.Path == path && !c.Access })
}

// leaveRole refuses to take a role's name away while tokens have it: they would get the next role of that name.
func leaveRole(v *fsm.View, e *fsm.Entity) error {
	role, ok := e.Value.(*fsm.AdminRole)
	if !ok {
		return nil
	}
	for t := range v.All(fsm.KindAdminToken) {
		if token, ok := t.Value.(*fsm.AdminToken); ok && slices.Contains(token.Roles, role.Name) {
			return &statusError{http.StatusBadRequest, fmt.Sprintf("the role '%s' is still one of the token '%s'", role.Name, token.Name)}
		}
	}
	return nil
}

// FirstToken makes the token firstTokenName with the role super-admin if the cluster has no token that is of use,
// and gives it; "" if there is one, or another node was faster. It waits for a cluster that takes writes, until the
// context ends. It is the only time that the token can be seen.
func (a *API) FirstToken(ctx context.Context) (string, error) {
	token, command, err := a.firstToken()
	if err != nil {
		return "", err
	}
	for {
		made, err := a.tryFirstToken(ctx, command)
		switch {
		case err == nil && made:
			return token, nil
		case err == nil:
			return "", nil
		case ctx.Err() != nil:
			return "", context.Cause(ctx)
		}
		a.cfg.Logger.Info("the first token waits for the cluster", zap.Error(err))
		pause := time.NewTimer(firstTokenRetry)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return "", context.Cause(ctx)
		}
	}
}

// firstToken makes the command. It is the same for every try, so that one whose answer was lost is answered by the
// next.
func (a *API) firstToken() (string, *fsm.Command, error) {
	c := a.byKind[fsm.KindAdminToken]
	entity, violation := c.schema.Insert(a.schemas, map[string]any{
		"id": firstTokenID, "name": firstTokenName, "roles": []any{RoleSuperAdmin},
	})
	if violation != nil {
		return "", nil, violation
	}
	stored, once := mintToken(entity)
	maps.Copy(entity, stored)
	token, _ := once[memberToken].(string)
	now := a.now()
	op, err := c.operation(fsm.Put, entity, now, 0, false)
	if err != nil {
		return "", nil, err
	}
	op.IfAbsent = true
	origin := fsm.Origin{Node: a.cfg.Cluster.ID(), Action: "first token"}
	id := strings.Join([]string{"first token", a.cfg.Cluster.ID(), stored[memberTokenHash].(string)[:16]}, "/")
	return token, a.command(id, origin, &fsm.Write{Now: now, Ops: []fsm.Op{op}}), nil
}

// tryFirstToken says whether the token of the command is the cluster's first.
func (a *API) tryFirstToken(ctx context.Context, command *fsm.Command) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if err := a.bringUpToDate(ctx); err != nil {
		return false, err
	}
	if !a.cfg.Machine.Answered(command.RequestID) { // else an earlier try has got through
		for e := range a.view().All(fsm.KindAdminToken) {
			if !e.Expired(a.now()) {
				return false, nil
			}
		}
	}
	result, err := a.cfg.Cluster.Apply(ctx, command)
	switch {
	case err != nil:
		return false, err
	case result.Err == nil:
		return true, nil
	case result.Err.Code == fsm.CodePrimaryKey, result.Err.Code == fsm.CodeUnique:
		return false, nil // another node was faster
	}
	return false, result.Err
}
