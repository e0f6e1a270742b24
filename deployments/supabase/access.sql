-- Who signs in at a Supabase project and what of the ledger they see. `brightrun setup` applies this
-- in one transaction, as often as it likes; after a migration it covers the new tables too.
-- A token's claims are in request.jwt.claims (PostgREST and Storage put them there). Its app_metadata
-- can be changed with the secret key alone, never by the person: it says "member" or "owner".

GRANT USAGE ON SCHEMA brightrun TO authenticated, service_role;

CREATE OR REPLACE FUNCTION brightrun.claims() RETURNS jsonb LANGUAGE sql STABLE SET search_path = ''
AS $$ SELECT coalesce(nullif(current_setting('request.jwt.claims', true), '')::jsonb, '{}') $$;

CREATE OR REPLACE FUNCTION brightrun.standing() RETURNS text LANGUAGE sql STABLE SET search_path = ''
AS $$ SELECT brightrun.claims() -> 'app_metadata' ->> 'brightrun' $$;

CREATE OR REPLACE FUNCTION brightrun.sign_in_name() RETURNS text LANGUAGE sql STABLE SET search_path = ''
AS $$ SELECT coalesce(nullif(brightrun.claims() ->> 'email', ''), brightrun.claims() ->> 'sub', '') $$;

-- The column named by the trigger holds who signed in, whatever the row says, and keeps it.
CREATE OR REPLACE FUNCTION brightrun.stamp_sign_in() RETURNS trigger LANGUAGE plpgsql SET search_path = ''
AS $$
DECLARE
    name text := brightrun.sign_in_name();
BEGIN
    IF current_user <> 'authenticated' THEN
        RETURN NEW;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        name := to_jsonb(OLD) ->> TG_ARGV[0];
    END IF;
    RETURN jsonb_populate_record(NEW, jsonb_build_object(TG_ARGV[0], name));
END $$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA brightrun FROM PUBLIC, anon, authenticated;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA brightrun TO authenticated, service_role;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA brightrun FROM PUBLIC, anon, authenticated;
GRANT ALL ON ALL SEQUENCES IN SCHEMA brightrun TO service_role;

DO $$
DECLARE
    one record;
BEGIN
    FOR one IN SELECT policyname, tablename FROM pg_policies WHERE schemaname = 'brightrun' LOOP
        EXECUTE format('DROP POLICY %I ON brightrun.%I', one.policyname, one.tablename);
    END LOOP;
    FOR one IN SELECT tablename AS name FROM pg_tables WHERE schemaname = 'brightrun' LOOP
        EXECUTE format('ALTER TABLE brightrun.%I ENABLE ROW LEVEL SECURITY', one.name);
        EXECUTE format('REVOKE ALL ON brightrun.%I FROM PUBLIC, anon, authenticated', one.name);
        EXECUTE format('GRANT ALL ON brightrun.%I TO service_role', one.name);
        EXECUTE format(
            'CREATE POLICY "service writes" ON brightrun.%I TO service_role '
            'USING (true) WITH CHECK (true)', one.name);
        -- Addresses and letters are nobody's reading; the revision is the program's own.
        CONTINUE WHEN one.name IN ('outbox', 'threads', 'alembic_version');
        EXECUTE format('GRANT SELECT ON brightrun.%I TO authenticated', one.name);
        EXECUTE format(
            'CREATE POLICY "members read" ON brightrun.%I FOR SELECT TO authenticated '
            'USING ((SELECT brightrun.standing()) IN (''member'', ''owner''))', one.name);
    END LOOP;
    -- What a person may say freely. Money, approvals and limits are the commands' alone: each of
    -- them is checked and logged there, and a row by itself would start, stop or prove nothing.
    FOR one IN SELECT * FROM (VALUES
        ('templates', 'INSERT'), ('templates', 'UPDATE'), ('feedback', 'INSERT'),
        ('training_jobs', 'UPDATE')) AS free (name, act)
    LOOP
        EXECUTE format(
            'CREATE POLICY %I ON brightrun.%I FOR %s TO authenticated %s ((SELECT brightrun.standing()) = ''owner'')',
            'owners ' || lower(one.act), one.name, one.act,
            CASE one.act WHEN 'INSERT' THEN 'WITH CHECK' ELSE 'USING' END);
    END LOOP;
END $$;

GRANT INSERT, UPDATE ON brightrun.templates TO authenticated;
GRANT INSERT ON brightrun.feedback TO authenticated;
GRANT USAGE ON SEQUENCE brightrun.feedback_id_seq TO authenticated;
GRANT UPDATE (name, notes) ON brightrun.training_jobs TO authenticated;

CREATE OR REPLACE TRIGGER created_by_sign_in BEFORE INSERT OR UPDATE ON brightrun.templates
    FOR EACH ROW EXECUTE FUNCTION brightrun.stamp_sign_in('created_by');
CREATE OR REPLACE TRIGGER author_sign_in BEFORE INSERT OR UPDATE ON brightrun.feedback
    FOR EACH ROW EXECUTE FUNCTION brightrun.stamp_sign_in('author');

-- For the team's own application, in the schema that its API shows anyway. security_invoker: the
-- policies above hold for whoever asks. Columns are only ever added at the end.
CREATE OR REPLACE VIEW public.brightrun_jobs WITH (security_invoker = true) AS
SELECT
    job_id, name, client, requested_by, status, stage, preset, provider, gpu, base_model, training_file,
    created_at, started_at, finished_at,
    estimate_likely_micro / 1e6 AS estimate_usd,
    (SELECT sum(a.cost_micro) / 1e6 FROM brightrun.attempts a
     WHERE a.job_id = j.job_id AND a.ended_at IS NOT NULL) AS settled_usd
FROM brightrun.training_jobs j;

CREATE OR REPLACE VIEW public.brightrun_metrics WITH (security_invoker = true) AS
SELECT job_id, attempt, step, epoch, validation, loss, learning_rate, tokens_per_s, ts
FROM brightrun.training_metrics_history;

CREATE OR REPLACE VIEW public.brightrun_verdicts WITH (security_invoker = true) AS
SELECT job_id, metric, evidence, n, baseline, trained, ci_low, ci_high, target, improved, target_met,
  coalesce(exploratory, false) AS exploratory
FROM brightrun.verdicts;

-- Who asks: the name to send as a job's requested_by.
CREATE OR REPLACE VIEW public.brightrun_me WITH (security_invoker = true) AS
SELECT brightrun.sign_in_name() AS name, brightrun.standing() AS standing;

-- A Supabase project gives every new view in public to everybody: taken back first.
REVOKE ALL ON public.brightrun_jobs, public.brightrun_metrics, public.brightrun_verdicts, public.brightrun_me
FROM PUBLIC, anon, authenticated;
GRANT SELECT ON public.brightrun_jobs, public.brightrun_metrics, public.brightrun_verdicts, public.brightrun_me
TO authenticated, service_role;
