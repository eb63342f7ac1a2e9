// Generated from the migrations by `just generate`; a test fails when it is stale. Do not edit.

diesel::table! {
    audit (at, id) {
        id -> Int8,
        at -> Timestamptz,
        action -> Text,
        outcome -> Text,
        actor_user_id -> Nullable<Uuid>,
        actor_name -> Text,
        actor_uid -> Nullable<Int8>,
        actor_token_id -> Nullable<Uuid>,
        address -> Nullable<Text>,
        agent -> Nullable<Text>,
        token_id -> Nullable<Uuid>,
        token_prefix -> Nullable<Text>,
        parent_id -> Nullable<Uuid>,
        subject_user_id -> Nullable<Uuid>,
        subject_name -> Nullable<Text>,
        workspace -> Nullable<Text>,
        repo -> Nullable<Text>,
        command -> Nullable<Text>,
        detail -> Text,
        times -> Int4,
        acted_by -> Nullable<Text>,
        chain -> Uuid,
        number -> Int8,
        xact -> Int8,
        mac -> Nullable<Bytea>,
    }
}

diesel::table! {
    audit_seals (chain, number) {
        chain -> Uuid,
        number -> Int8,
        kind -> Text,
        pepper_id -> Int2,
        cluster -> Text,
        upto_xact -> Int8,
        upto_line -> Int8,
        month -> Text,
        lines -> Int8,
        first_at -> Nullable<Timestamptz>,
        last_at -> Nullable<Timestamptz>,
        digest -> Bytea,
        content -> Text,
        sealed_at -> Timestamptz,
        previous -> Bytea,
        hash -> Bytea,
    }
}

diesel::table! {
    browser_sessions (token_id) {
        token_id -> Uuid,
        user_id -> Uuid,
    }
}

diesel::table! {
    device_logins (id) {
        id -> Uuid,
        device_digest -> Bytea,
        user_digest -> Bytea,
        machine -> Text,
        client -> Text,
        address -> Nullable<Text>,
        agent -> Nullable<Text>,
        state -> Text,
        user_id -> Nullable<Uuid>,
        decided_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
        approved_through -> Nullable<Uuid>,
    }
}

diesel::table! {
    idempotency (caller, key) {
        caller -> Text,
        key -> Text,
        request -> Bytea,
        token_id -> Uuid,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    last_uses (token_id) {
        token_id -> Uuid,
        at -> Timestamptz,
        address -> Nullable<Text>,
        agent -> Nullable<Text>,
        repo -> Nullable<Text>,
    }
}

diesel::table! {
    members (workspace_id, user_id) {
        workspace_id -> Uuid,
        user_id -> Uuid,
        role -> Text,
        added_at -> Timestamptz,
    }
}

diesel::table! {
    peppers (id) {
        id -> Int2,
        fingerprint -> Bytea,
        registered_at -> Timestamptz,
    }
}

diesel::table! {
    tokens (id) {
        id -> Uuid,
        digest -> Nullable<Bytea>,
        pepper_id -> Nullable<Int2>,
        kind -> Text,
        name -> Text,
        description -> Text,
        shown_prefix -> Text,
        user_id -> Nullable<Uuid>,
        workspace_id -> Nullable<Uuid>,
        scopes -> Nullable<Array<Text>>,
        routes -> Nullable<Array<Text>>,
        permission -> Nullable<Text>,
        within_workspace -> Nullable<Text>,
        repos -> Nullable<Array<Text>>,
        parent_id -> Nullable<Uuid>,
        family_id -> Uuid,
        allow_from -> Array<Text>,
        local_uid -> Nullable<Int8>,
        created_at -> Timestamptz,
        created_by_user_id -> Nullable<Uuid>,
        created_by_name -> Text,
        created_by_token_prefix -> Nullable<Text>,
        created_from -> Text,
        created_agent -> Nullable<Text>,
        expires_at -> Nullable<Timestamptz>,
        revoked_at -> Nullable<Timestamptz>,
        revoked_by -> Nullable<Text>,
        revoke_reason -> Nullable<Text>,
        secret_hash -> Nullable<Text>,
        imported_from -> Nullable<Text>,
        labels -> Array<Text>,
        max_uses -> Nullable<Int8>,
        uses -> Int8,
        predecessor_id -> Nullable<Uuid>,
        rotated_at -> Nullable<Timestamptz>,
        rotated_by -> Nullable<Text>,
        grace_ends_at -> Nullable<Timestamptz>,
        successor_id -> Nullable<Uuid>,
        revoke_act -> Nullable<Uuid>,
        version -> Int4,
        modified_at -> Nullable<Timestamptz>,
        first_use_due -> Bool,
        revoked_by_user_id -> Nullable<Uuid>,
        revoked_by_token_id -> Nullable<Uuid>,
    }
}

diesel::table! {
    trust_pins (trust_id, claim, name) {
        trust_id -> Uuid,
        claim -> Text,
        name -> Text,
        id_claim -> Text,
        pinned -> Text,
        pinned_at -> Timestamptz,
    }
}

diesel::table! {
    trust_uses (digest) {
        digest -> Bytea,
        trust_id -> Uuid,
        token_id -> Uuid,
        until -> Timestamptz,
    }
}

diesel::table! {
    trusts (id) {
        id -> Uuid,
        name -> Text,
        system -> Text,
        issuer -> Text,
        audience -> Text,
        claims -> Array<Text>,
        algorithms -> Array<Text>,
        ca -> Nullable<Text>,
        workspace_id -> Uuid,
        repos -> Array<Text>,
        permission -> Text,
        lifetime_seconds -> Int8,
        max_age_seconds -> Int8,
        once -> Text,
        recycled_names -> Bool,
        created_at -> Timestamptz,
        created_by_name -> Text,
        last_used_at -> Nullable<Timestamptz>,
        uses -> Int8,
    }
}

diesel::table! {
    users (id) {
        id -> Uuid,
        name -> Text,
        manager -> Bool,
        created_at -> Timestamptz,
        disabled_at -> Nullable<Timestamptz>,
        deleted_at -> Nullable<Timestamptz>,
        password_hash -> Nullable<Text>,
        cutoff_before -> Nullable<Timestamptz>,
        cutoff_at -> Nullable<Timestamptz>,
        cutoff_by -> Nullable<Text>,
        cutoff_reason -> Nullable<Text>,
        cutoff_act -> Nullable<Uuid>,
        cutoff_by_user_id -> Nullable<Uuid>,
        cutoff_by_token_id -> Nullable<Uuid>,
    }
}

diesel::table! {
    workspaces (id) {
        id -> Uuid,
        name -> Text,
        owner_id -> Nullable<Uuid>,
        created_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
        cutoff_before -> Nullable<Timestamptz>,
        cutoff_at -> Nullable<Timestamptz>,
        cutoff_by -> Nullable<Text>,
        cutoff_reason -> Nullable<Text>,
        cutoff_act -> Nullable<Uuid>,
        cutoff_by_user_id -> Nullable<Uuid>,
        cutoff_by_token_id -> Nullable<Uuid>,
    }
}

diesel::allow_tables_to_appear_in_same_query!(
    audit,
    audit_seals,
    browser_sessions,
    device_logins,
    idempotency,
    last_uses,
    members,
    peppers,
    tokens,
    trust_pins,
    trust_uses,
    trusts,
    users,
    workspaces
);
