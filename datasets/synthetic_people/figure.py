"""From a posed body and an outfit to the quadrics that are drawn."""

from typing import TYPE_CHECKING, Any

import numpy as np

from .outfit import solid
from .primitives import NO_CUT, Quadrics

if TYPE_CHECKING:
    from synthetic_people.body import Posed
    from synthetic_people.outfit import Materials, Outfit


class Figure:
    """Builds one person's quadrics; sizes are fractions of the height unless a name says metres."""

    def __init__(self, posed: "Posed", outfit: "Outfit", materials: "Materials", owner: int, rng: np.random.Generator):
        self.posed, self.outfit, self.owner = posed, outfit, owner
        self.shape, self.h = posed.shape, posed.shape.height
        self.quadrics = Quadrics()
        face = materials.add_face(outfit.face_row(rng))
        self.skin = materials.add(solid(outfit.skin, gloss=0.12))
        self.face = materials.add(solid(outfit.skin, gloss=0.12, face=face))
        self.hair = materials.add([*outfit.hair, *(outfit.hair * 0.7), 260, 40, 0.8, 0.5, 0.3, 0.25, 0.12, 0.05, -1])
        self.top = materials.add(outfit.top)
        self.bottom = materials.add(outfit.bottom)
        self.shoes = materials.add(outfit.shoes)
        self.extra = materials.add(outfit.extra)
        self.sole = materials.add(solid(np.array([0.8, 0.8, 0.8]) if rng.random() < 0.6 else np.array([0.1, 0.1, 0.1])))
        build = self.shape.girth**0.65
        self.arm = build * (0.92 + 0.16 * self.shape.muscle - 0.04 * self.shape.woman) * (1 + 0.05 * self.shape.child)
        self.leg = build * (0.96 + 0.08 * self.shape.muscle + 0.03 * self.shape.woman) * (1 + 0.04 * self.shape.child)

    def build(self) -> "Quadrics":
        """All quadrics of the person."""
        self._trunk()
        for sign, side in ((1, "left"), (-1, "right")):
            self._arm(sign, side)
            self._leg(sign, side)
        if self.outfit.skirt:
            self._skirt()
        self._head()
        self._hair()
        if self.outfit.bag:
            self._bag()
        return self.quadrics

    def _ball(
        self,
        point: np.ndarray,
        radii: np.ndarray | tuple[float, float, float],
        axes: np.ndarray,
        material: int | tuple[int, int, float, float],
        **options: Any,
    ) -> None:
        self.quadrics.ellipsoid(point, axes, np.asarray(radii, float) * self.h, material, self.owner, **options)

    def _cone(
        self,
        start: np.ndarray,
        end: np.ndarray,
        r0: float,
        r1: float,
        side: np.ndarray,
        material: int | tuple[int, int, float, float],
        **options: Any,
    ) -> None:
        self.quadrics.cone(start, end, r0 * self.h, r1 * self.h, side, material, self.owner, **options)

    def _at(self, name: str, offset: tuple, frame: str) -> np.ndarray:
        return self.posed.points[name] + self.posed.frames[frame] @ (np.asarray(offset, float) * self.h)

    def _trunk(self) -> None:
        s, g, f, o = self.shape, self.shape.girth, self.posed.frames, self.outfit
        turn = np.array([[1.0, 0, 0], [0, 0, 1], [0, 1, 0]])  # shading frame: across, front, up
        low = (self.posed.points["pelvis"], f["pelvis"] @ turn)
        mid = (self.posed.points["waist"], f["belly"] @ turn)
        high = (self.posed.points["waist"], f["chest"] @ turn)
        hem = (o.hem if o.untucked else 0.045) * self.h
        hips = (self.bottom, self.top, hem, 0.0)
        belly = (self.bottom, self.top, -NO_CUT if o.untucked else -0.03 * self.h, 0.0)
        collar = (self.top, self.skin, (0.21 - o.neckline) * self.h * (1 + 0.05 * s.child), 1.4)
        loose = 1 + 0.10 * o.loose
        wide_hip = (0.083 + 0.011 * s.woman) * g**0.9 + 0.2 * (s.hip - 0.053)
        wide_waist = (0.074 - 0.008 * s.woman + 0.012 * s.child) * g**1.25 * loose
        wide_chest = (0.084 - 0.008 * s.woman + 0.008 * s.muscle) * g**0.9 * loose
        wide_top = 0.72 * s.shoulder + 0.002
        p, w, c = (
            self._at("pelvis", (0, 0.0, 0), "pelvis"),
            self.posed.points["waist"],
            self._at("chest", (0, 0.01, 0.002), "chest"),
        )
        top = self._at("neck", (0, -0.048, -0.004), "chest")
        x = f["pelvis"][:, 0], f["belly"][:, 0], f["chest"][:, 0]
        flat = 0.70 + 0.10 * (g - 1)
        self._ball(p, (wide_hip, wide_hip * 0.80, wide_hip * flat), f["pelvis"], hips, frame=low)
        self._cone(p, w, wide_hip, wide_waist, x[0], hips, flat=flat, frame=low)
        self._ball(w, (wide_waist, wide_waist * 0.8, wide_waist * flat), f["belly"], belly, frame=mid)
        self._cone(w, c, wide_waist, wide_chest, x[1], belly, flat=flat, frame=mid)
        self._ball(c, (wide_chest, wide_chest * 0.8, wide_chest * 0.72), f["chest"], collar, frame=high)
        self._cone(c, top, wide_chest, wide_top, x[2], collar, flat=0.70, frame=high)
        self._ball(top, (wide_top, 0.05, wide_top * 0.68), f["chest"], collar, frame=high)
        for sign in (1, -1):
            seat = self._at("pelvis", (sign * 0.040 * g, -0.026, -0.032 * g), "pelvis")
            self._ball(seat, (0.047 * g, 0.054, 0.043 * g), f["pelvis"], hips, frame=low)
            if s.woman > 0.5 and s.child < 0.5:
                bust = self._at("chest", (sign * 0.042, 0.028, 0.048 * g), "chest")
                self._ball(bust, (0.041 * g, 0.043, 0.036 * g), f["chest"], collar, frame=high)
            elif s.muscle > 0.6:
                self._ball(
                    self._at("chest", (sign * 0.045, 0.045, 0.042 * g), "chest"),
                    (0.05, 0.035, 0.025),
                    f["chest"],
                    collar,
                    frame=high,
                )
        if g > 1.15:
            self._ball(
                self._at("waist", (0, -0.005, 0.03 * g), "belly"),
                (0.075 * g, 0.075, 0.05 * g),
                f["belly"],
                belly,
                frame=mid,
            )
        self._neck(collar, high)

    def _neck(self, collar: tuple[int, int, float, float], frame: tuple[np.ndarray, np.ndarray]) -> None:
        f, s = self.posed.frames, self.shape
        thick = 0.031 * (1 + 0.12 * s.muscle - 0.10 * s.woman) * s.girth**0.4 * (1 + 0.1 * s.child)
        base = self._at("neck", (0, -0.012, -0.004), "chest")
        self._cone(base, self.posed.points["head"], thick * 1.12, thick, f["chest"][:, 0], self.skin)
        if self.outfit.jacket:
            self._cone(
                base,
                self._at("neck", (0, 0.026, 0), "neck"),
                thick * 1.6,
                thick * 1.35,
                f["chest"][:, 0],
                self.top,
                rounded=False,
            )
        for sign, side in ((1, "left"), (-1, "right")):
            shoulder = self.posed.points[f"{side}_shoulder"]
            slope = self._at("neck", (sign * 0.012, 0.012, -0.012), "chest")
            self._cone(slope, shoulder, 0.032, 0.027 * self.arm, f["chest"][:, 2], collar, flat=0.9, frame=frame)
            chest = self._at("chest", (sign * 0.045, 0.035, 0), "chest")
            self._cone(chest, shoulder, 0.054, 0.030 * self.arm, f["chest"][:, 2], collar, frame=frame)

    def _arm(self, sign: int, side: str) -> None:
        f, p, o = self.posed.frames, self.posed.points, self.outfit
        shoulder, elbow, wrist = p[f"{side}_shoulder"], p[f"{side}_elbow"], p[f"{side}_wrist"]
        upper, lower = f[f"{side}_upper_arm"], f[f"{side}_forearm"]
        sleeve_upper, sleeve_lower = o.sleeve > 0.2, o.sleeve > 1
        cloth = 1 + (0.14 + 0.1 * o.loose) * (o.sleeve > 1) + 0.12 * o.jacket * (o.sleeve > 1)
        length = 0.168 * self.h * self.shape.arm
        cover = (self.top, self.skin, min(o.sleeve, 1.0) * length if o.sleeve <= 1 else NO_CUT, 0.0)
        rs, re, rw = 0.0310 * self.arm * cloth, 0.0232 * self.arm * cloth, 0.0158 * self.arm
        self._ball(shoulder, (rs, rs * 1.05, rs), f["chest"], self.top if sleeve_upper or not o.sleeve else cover)
        self._cone(shoulder, elbow, rs, re, upper[:, 0], cover)
        if sleeve_upper and not sleeve_lower:
            end = shoulder + (elbow - shoulder) * o.sleeve
            self._cone(
                shoulder,
                end,
                rs * 1.05,
                (rs + (re - rs) * o.sleeve) * (1.28 + 0.3 * o.loose),
                upper[:, 0],
                self.top,
                rounded=False,
            )
        self._ball(elbow, (re, re, re), upper, self.top if sleeve_lower else self.skin)
        cut = (
            self.top,
            self.skin,
            (o.sleeve - 1) * 0.145 * self.h * self.shape.arm if sleeve_lower and o.sleeve < 2 else NO_CUT,
            0.0,
        )
        rf = rw * (cloth if sleeve_lower else 1)
        self._cone(elbow, wrist, re * 1.04, rf, lower[:, 0], cut if sleeve_lower else self.skin)
        belly = elbow + 0.28 * (wrist - elbow) + lower[:, 2] * 0.003 * self.h
        self._ball(
            belly,
            (re * 1.08, 0.05, re * 1.05),
            lower,
            cut if sleeve_lower and o.sleeve == 2 else self.skin if not sleeve_lower else self.top,
        )
        hand = f[f"{side}_hand"]
        self._ball(wrist, (rw * 0.95, rw * 1.2, rw), lower, self.skin)
        self._ball(wrist - hand[:, 1] * 0.038 * self.h, (0.0115, 0.034, 0.0235), hand, self.skin)
        self._ball(wrist - hand[:, 1] * 0.074 * self.h, (0.0092, 0.032, 0.0185), hand, self.skin)
        thumb = wrist + hand @ (np.array([-sign * 0.006, -0.045, 0.022]) * self.h)
        self._ball(thumb, (0.0085, 0.026, 0.0095), hand @ _tilt(0.45), self.skin)

    def _leg(self, sign: int, side: str) -> None:
        f, p, o = self.posed.frames, self.posed.points, self.outfit
        hip, knee, ankle = p[f"{side}_hip"], p[f"{side}_knee"], p[f"{side}_ankle"]
        thigh, shank, foot = f[f"{side}_thigh"], f[f"{side}_shank"], f[f"{side}_foot"]
        long = o.leg > 1
        cloth = 1 + (0.07 + 0.14 * o.loose) * long
        rh, rk, ra = 0.0525 * self.leg, 0.0325 * self.leg * cloth, 0.0205 * self.leg
        thigh_length = 0.245 * self.h * self.shape.leg
        cover = (self.bottom, self.skin, NO_CUT if long else o.leg * thigh_length, 0.0)
        self._ball(hip, (rh, rh, rh), f["pelvis"], self.bottom)
        self._cone(hip, knee, rh, rk, thigh[:, 0], cover)
        if not long and not o.skirt:
            end = hip + (knee - hip) * o.leg
            self._cone(
                hip,
                end,
                rh * 1.04,
                (rh + (rk - rh) * o.leg) * (1.16 + 0.22 * o.loose),
                thigh[:, 0],
                self.bottom,
                rounded=False,
            )
        self._ball(knee, (rk, rk * 1.08, rk), thigh, self.bottom if long else self.skin)
        shin = (
            (self.bottom, self.skin, NO_CUT if o.leg == 2 else (o.leg - 1) * 0.24 * self.h * self.shape.leg, 0.0)
            if long
            else self.skin
        )
        r_low = ra * (1.1 + 0.45 * o.loose if long and o.leg == 2 else 1.0)
        self._cone(knee, ankle, rk, r_low, shank[:, 0], shin)
        calf = knee + 0.3 * (ankle - knee) - shank[:, 2] * 0.010 * self.h
        self._ball(
            calf,
            (0.0315 * self.leg * cloth, 0.082, 0.031 * self.leg * cloth),
            shank,
            self.bottom if long else self.skin,
        )
        self._ball(ankle, (ra, ra, ra), shank, self.skin if not long else self.bottom)
        heel, toe = p[f"{side}_heel"], p[f"{side}_toe"]
        up = foot[:, 1] * 0.008 * self.h
        self._ball(heel + up, (0.022, 0.022, 0.024), foot, self.shoes)
        self._cone(heel + up, toe, 0.024, 0.0225, foot[:, 0], self.shoes, flat=0.75)
        self._cone(ankle - foot[:, 1] * 0.012 * self.h, toe, 0.026, 0.019, foot[:, 0], self.shoes)
        self._ball(toe + foot[:, 1] * 0.004 * self.h, (0.0245, 0.017, 0.03), foot, self.shoes)
        self._ball((heel + toe) / 2 - foot[:, 1] * 0.009 * self.h, (0.025, 0.008, 0.075), foot, self.sole)

    def _skirt(self) -> None:
        p, s, o = self.posed.points, self.shape, self.outfit
        ends = [p[f"{n}_hip"] + (p[f"{n}_knee"] - p[f"{n}_hip"]) * o.skirt for n in ("left", "right")]
        spread = np.linalg.norm(ends[0] - ends[1]) / self.h / 2
        flexed = (
            self.posed.frames["pelvis"][:, 1] @ (p["pelvis"] - (ends[0] + ends[1]) / 2) / self.h / (0.245 * o.skirt)
        )
        side = self.posed.frames["pelvis"][:, 0]
        start = p["pelvis"] + self.posed.frames["pelvis"][:, 1] * 0.06 * self.h
        if flexed < 0.62 or spread > 0.13:  # seated or striding: the cloth follows each thigh
            for n, end in zip(("left", "right"), ends):
                self._cone(p[f"{n}_hip"], end, 0.060 * self.leg, 0.056 * self.leg, side, self.bottom, rounded=False)
            return
        wide = 0.092 * s.girth**0.9
        self._cone(
            start,
            (ends[0] + ends[1]) / 2,
            wide,
            max(spread + 0.056 * self.leg, 0.10),
            side,
            self.bottom,
            flat=0.86,
            rounded=False,
        )

    def _head(self) -> None:
        f, s = self.posed.frames["head"], self.shape
        unit = 0.064 * s.head
        centre = self.posed.points["head"]
        turn = np.array([[1.0, 0, 0], [0, 0, 1], [0, 1, 0]])
        frame = (centre, f @ turn / (unit * self.h))
        jaw = 0.62 + 0.05 * s.muscle - 0.04 * s.woman

        def part(at: tuple, radii: tuple[float, float, float], material: int = self.face) -> None:
            self._ball(centre + f @ (np.array(at) * unit * self.h), np.array(radii) * unit, f, material, frame=frame)

        part((0, 0.20, -0.08), (0.74, 0.84, 0.90))
        part((0, -0.28, 0.16), (jaw, 0.74, 0.68))
        part((0, -0.62, 0.34), (jaw * 0.66, 0.38, 0.44))
        part((0, -0.13, 0.80), (0.12, 0.24, 0.23))
        for sign in (1, -1):
            part((sign * 0.74, -0.04, -0.05), (0.09, 0.24, 0.15), self.skin)

    def _hair(self) -> None:
        f, s, style = self.posed.frames["head"], self.shape, self.outfit.hair_style
        unit = 0.064 * s.head
        size = unit * self.h
        centre = self.posed.points["head"]

        def part(
            at: tuple,
            radii: tuple[float, float, float],
            plane: tuple[float, float, float, float] | None = None,
            material: int = self.hair,
        ) -> None:
            clip = (0.0, 0.0, 0.0, 0.0)
            if plane is not None:  # keep what lies above: plane . x + offset > 0 in head units, scaled far below 1
                at_, r = np.array(at), np.array(radii)
                direction, offset = np.array(plane[:3]), plane[3] + np.array(plane[:3]) @ at_
                clip = (*(direction * r * -0.2), 1 - 0.2 * offset)
            self._ball(centre + f @ (np.array(at) * size), np.array(radii) * unit, f, material, clip=clip)

        hairline = (0.0, 0.78, -0.72, -0.13)
        if style == "bald":
            return
        if style == "crop":
            part((0, 0.21, -0.09), (0.755, 0.855, 0.915), hairline)
        elif style == "afro":
            part((0, 0.34, -0.18), (1.04, 0.98, 1.02), (0.0, 0.8, -0.85, -0.12))
        elif style == "cap":
            part((0, 0.25, -0.06), (0.81, 0.84, 0.95), (0.0, 1.0, -0.1, -0.30), self.extra)
            self._ball(
                centre + f @ (np.array((0, 0.36, 0.92)) * size), np.array((0.56, 0.06, 0.46)) * unit, f, self.extra
            )
            part((0, 0.10, -0.12), (0.77, 0.82, 0.90), (0.0, 0.3, -0.9, -0.05))
        else:
            part((0, 0.25, -0.11), (0.81, 0.90, 0.96), hairline)
        if style in ("long", "bob"):
            drop = 1.05 if style == "long" else 0.62
            part((0, -0.30 - 0.35 * (style == "long"), -0.42), (0.80, drop, 0.50))
            for sign in (1, -1):
                part((sign * 0.66, -0.25 - 0.25 * (style == "long"), -0.12), (0.24, 0.85 * drop, 0.34))
        elif style == "ponytail":
            tail = centre + f @ (np.array((0, 0.30, -1.0)) * size)
            end = centre + f @ (np.array((0, -0.95, -1.22)) * size)
            self._ball(tail, np.array((0.26, 0.26, 0.26)) * unit, f, self.hair)
            self._cone(tail, end, 0.26 * unit, 0.12 * unit, f[:, 0], self.hair)
        elif style == "bun":
            part((0, 0.72, -0.85), (0.38, 0.36, 0.36))

    def _bag(self) -> None:
        f = self.posed.frames["chest"]
        self._ball(self._at("chest", (0, 0.005, -0.105), "chest"), (0.085, 0.13, 0.05), f, self.extra)
        for sign in (1, -1):
            strap = self._at("chest", (sign * 0.062, 0.045, 0.0), "chest")
            self._ball(strap, (0.016, 0.085, 0.088), f, self.extra)


def _tilt(angle: float) -> np.ndarray:
    """Rotation about x."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
